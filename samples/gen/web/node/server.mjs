// The server of web.pcapng: WebSocket, GraphQL, Server-Sent Events and JSON-RPC on one HTTP port.
import http from 'node:http'
import { useAPQ } from '@graphql-yoga/plugin-apq'
import { execute, GraphQLError, subscribe } from 'graphql'
import { useServer } from 'graphql-ws/use/ws'
import { createSchema, createYoga } from 'graphql-yoga'
import jayson from 'jayson'
import { SubscriptionServer } from 'subscriptions-transport-ws'
import { WebSocketServer } from 'ws'

const refuse = (code, message) => { throw new GraphQLError(message, { extensions: { code } }) }
const orders = async function* (_, { count }) {
  for (let id = 1; id <= count; id++) {
    await new Promise((done) => setTimeout(done, 20))
    yield { orderPlaced: { id, total: id * 100 } }
  }
}
const schema = createSchema({
  typeDefs: `type Order { id: Int! total: Int! }
    type Query { me: String order(id: Int!): Order orders: [Order!]! }
    type Mutation { placeOrder(total: Int!): Order }
    type Subscription { orderPlaced(count: Int!): Order! }`,
  resolvers: {
    Query: {
      me: () => refuse('UNAUTHENTICATED', 'log in first'),
      order: (_, { id }) => (id === 404 ? refuse('NOT_FOUND', 'no such order') : { id, total: 100 }),
      orders: () => [{ id: 1, total: 100 }, { id: 2, total: 200 }],
    },
    Mutation: { placeOrder: (_, { total }) => { if (total < 0) throw new GraphQLError('the stock is broken'); return { id: 7, total } } },
    Subscription: { orderPlaced: { subscribe: orders } },
  },
})
const yoga = createYoga({ schema, batching: true, logging: false, maskedErrors: false, graphiql: false, plugins: [useAPQ()] })

const methods = {
  add: ([a, b], reply) => reply(null, a + b),
  fail: (_, reply) => reply({ code: -32000, message: 'the backend is down' }),
  deny: (_, reply) => reply({ code: 401, message: 'not allowed' }),
}
const rpc = new jayson.Server(methods)

function events(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  response.write('retry: 5000\n\n: a remark\n\n')
  const first = Number(request.headers['last-event-id'] ?? 0) + 1
  for (let i = first; i < first + 3; i++) response.write(`id: ${i}\nevent: ${i % 2 ? 'price' : 'stock'}\ndata: {"n":${i},\ndata: "of":3}\n\n`)
  response.end('data: bye\n\n')
}

const server = http.createServer((request, response) => {
  const path = new URL(request.url, 'http://web').pathname
  if (path === '/graphql') return yoga(request, response)
  if (path === '/events') return events(request, response)
  if (path === '/rpc') {
    let body = ''
    request.on('data', (part) => { body += part })
    request.on('end', () => rpc.call(JSON.parse(body), (error, answer) => {
      const value = error ?? answer
      response.writeHead(value ? 200 : 204, value ? { 'Content-Type': 'application/json' } : {})
      response.end(value ? JSON.stringify(value) : undefined)
    }))
    return undefined
  }
  response.writeHead(404).end('not here')
  return undefined
})

const sockets = {
  '/echo': new WebSocketServer({ noServer: true }),
  '/takeover': new WebSocketServer({ noServer: true, perMessageDeflate: { threshold: 0, serverNoContextTakeover: false, clientNoContextTakeover: false } }),
  '/fresh': new WebSocketServer({ noServer: true, perMessageDeflate: { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true } }),
  '/policy': new WebSocketServer({ noServer: true }),
  '/rpc': new WebSocketServer({ noServer: true }),
  '/graphql': new WebSocketServer({ noServer: true, handleProtocols: () => 'graphql-transport-ws' }),
}
for (const path of ['/echo', '/takeover', '/fresh']) {
  sockets[path].on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })))
}
sockets['/policy'].on('connection', (socket) => socket.on('message', () => socket.close(1008, 'no such thing')))
sockets['/rpc'].on('connection', (socket) => socket.on('message', (data) => rpc.call(JSON.parse(data), (error, answer) => {
  if (error ?? answer) socket.send(JSON.stringify(error ?? answer))
})))
useServer({ schema }, sockets['/graphql'])
const legacy = SubscriptionServer.create({ schema, execute, subscribe }, { noServer: true })

server.on('upgrade', (request, socket, head) => {
  const path = new URL(request.url, 'http://web').pathname
  const ws = path === '/legacy' ? legacy.server : sockets[path]
  if (!ws) return socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')
  return ws.handleUpgrade(request, socket, head, (open) => ws.emit('connection', open, request))
})
server.listen(Number(process.argv[3]), process.argv[2], () => console.log('ready'))
