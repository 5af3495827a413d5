// The client of web.pcapng. It notes what it did, as it knows it: an action, its object and the result.
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { EventSource } from 'eventsource'
import { createClient } from 'graphql-ws'
import jayson from 'jayson'
import legacy from 'subscriptions-transport-ws'
import WebSocket from 'ws'

const [host, port, file] = process.argv.slice(2)
const at = `${host}:${port}`
const lines = []
const say = (...cells) => lines.push(cells.join('\t'))
const once = (emitter, name) => new Promise((done) => emitter.once(name, (...args) => done(args)))

async function graphql(name, request, { method = 'POST', query = '' } = {}) {
  const options = method === 'GET' ? {} : { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(request) }
  const response = await fetch(`http://${at}/graphql${query}`, options)
  const answer = await response.json()
  const errors = [answer].flat().flatMap((each) => each.errors ?? [])
  say('graphql', name, errors.length ? `${errors.length} ${errors[0].extensions?.code ?? '-'}` : 'ok')
}

async function queries() {
  await graphql('query Orders {orders}', { query: 'query Orders { orders { id total } }' })
  await graphql('query {order}', { query: '{ first: order(id: 1) { id } }' })
  await graphql('mutation Place {placeOrder}', { query: 'mutation Place($t: Int!) { placeOrder(total: $t) { id } }', variables: { t: 12345 } })
  await graphql('mutation Place {placeOrder}', { query: 'mutation Place { placeOrder(total: -1) { id } }' })
  await graphql('query Me {me}', { query: 'query Me { me }' })
  await graphql('query {order}', { query: '{ order(id: 404) { id } }' })
  await graphql('query {nonsense}', { query: '{ nonsense }' })
  await graphql('query Orders {orders}', null, { method: 'GET', query: `?query=${encodeURIComponent('query Orders { orders { id } }')}` })
  await graphql('query A {orders} and 1 more', [{ query: 'query A { orders { id } }' }, { query: 'query B { me }' }])
  const document = '{ orders { total } }'
  const extensions = { persistedQuery: { version: 1, sha256Hash: createHash('sha256').update(document).digest('hex') } }
  await graphql('persisted', { extensions })
  await graphql('query {orders}', { query: document, extensions })
  await graphql('persisted', { extensions })
}

async function subscriptions() {
  const query = 'subscription OnOrder($n: Int!) { orderPlaced(count: $n) { id } }'
  const response = await fetch(`http://${at}/graphql`, { method: 'POST', headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream' },
    body: JSON.stringify({ query, variables: { n: 3 } }) })
  const text = await response.text()
  say('graphql', 'subscription OnOrder {orderPlaced}', 'ok')
  say('events', '/graphql', (text.match(/\ndata:/g) ?? []).length)

  const client = createClient({ url: `ws://${at}/graphql`, webSocketImpl: WebSocket, lazy: false, connectionParams: { token: 'not-for-the-table' } })
  const run = (payload) => new Promise((done) => {
    let n = 0
    client.subscribe(payload, { next: () => { n++ }, error: () => done('error'), complete: () => done(n) })
  })
  say('subscription', 'subscription OnOrder {orderPlaced}', await run({ query, variables: { n: 4 } }))
  say('subscription', 'query {orders}', await run({ query: '{ orders { id } }' }))
  say('subscription', 'query {nonsense}', await run({ query: '{ nonsense }' }))
  await client.dispose()

  const old = new legacy.SubscriptionClient(`ws://${at}/legacy`, {}, WebSocket)
  say('subscription', 'subscription {orderPlaced}', await new Promise((done) => {
    let n = 0
    old.request({ query: 'subscription { orderPlaced(count: 2) { id } }' }).subscribe({ next: () => { n++ }, complete: () => done(n), error: () => done('error') })
  }))
  old.close()
}

async function messages(path, options, list) {
  const socket = new WebSocket(`ws://${at}${path}`, options)
  await once(socket, 'open')
  for (const each of list) {
    const binary = typeof each !== 'string'
    socket.send(each)
    const [back] = await once(socket, 'message')
    say(binary ? 'binary' : 'text', path, `client ${Buffer.byteLength(each)}`)
    say(binary ? 'binary' : 'text', path, `server ${back.length}`)
  }
  return socket
}

async function websockets() {
  const echo = await messages('/echo', { perMessageDeflate: false }, ['hello', Buffer.from([0, 1, 2, 255]), 'x'.repeat(70000)])
  echo.ping('are you there')
  await once(echo, 'pong')
  say('ping', '/echo', 'answered')
  echo.send('one, ', { fin: false })
  echo.send('two, ', { fin: false })
  echo.send('three', { fin: true })
  await once(echo, 'message')
  say('text', '/echo', 'client 15')
  say('text', '/echo', 'server 15')
  echo.close(1000, 'done')
  await once(echo, 'close')
  say('close', '/echo', 1000)
  const long = 'the same words again and again, '.repeat(200)
  for (const path of ['/takeover', '/fresh']) {
    const socket = await messages(path, { perMessageDeflate: { threshold: 0 } }, [long, long, '{"n": 1}'])
    socket.close(1000)
    await once(socket, 'close')
    say('close', path, 1000)
  }
  const bad = new WebSocket(`ws://${at}/policy`)
  await once(bad, 'open')
  bad.send('anything')
  say('text', '/policy', 'client 8')
  const [code] = await once(bad, 'close')
  say('close', '/policy', code)
}

async function rpc() {
  const client = jayson.Client.http({ host, port: Number(port), path: '/rpc' })
  const call = (method, params) => new Promise((done) => { client.request(method, params, (_, answer) => done(answer)) })
  for (const [method, params] of [['add', [1, 2]], ['fail', []], ['deny', []], ['missing', []]]) {
    const answer = await call(method, params)
    say('jsonrpc', method, answer.error?.code ?? 'ok')
  }
  await new Promise((done) => { client.request([client.request('add', [1, 1], undefined, false), client.request('fail', [], undefined, false)], done) })
  say('jsonrpc', 'add', -32000)
  await new Promise((done) => { client.request('add', [3, 4], null, done) })
  say('jsonrpc', 'add', 'ok')

  const socket = new WebSocket(`ws://${at}/rpc`, { perMessageDeflate: false })
  await once(socket, 'open')
  for (const [id, method] of [[1, 'add'], [2, 'missing']]) {
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params: [20, 22] }))
    const [data] = await once(socket, 'message')
    say('jsonrpc', method, JSON.parse(data).error?.code ?? 'ok')
  }
  socket.close(1000)
  await once(socket, 'close')
  say('close', '/rpc', 1000)
}

async function events() {
  for (const headers of [{}, { 'Last-Event-ID': '3' }]) {
    const source = new EventSource(`http://${at}/events`, { fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } }) })
    let n = 0
    await new Promise((done) => {
      for (const type of ['price', 'stock']) source.addEventListener(type, () => { n++ })
      source.onmessage = () => { n++; source.close(); done() }
    })
    say('events', '/events', n)
  }
}

await queries()
await subscriptions()
await websockets()
await rpc()
await events()
writeFileSync(file, `# action\tobject\tresult\n${lines.join('\n')}\n`)
process.exit(0)
