// The client of socketio.pcapng. It notes what it did, as it knows it: a transport, an action and the result.
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { io } from 'socket.io-client'

const [host, port, file] = process.argv.slice(2)
const lines = []
const say = (...cells) => lines.push(cells.join('\t'))

async function session(transport) {
  const open = (namespace, auth) => io(`http://${host}:${port}${namespace}`, { transports: [transport], forceNew: true, reconnection: false, auth })
  const connected = (socket, namespace) => new Promise((done) => {
    socket.on('connect', () => { say(transport, `connect ${namespace}`, 'ok'); done() })
    socket.on('connect_error', (error) => { say(transport, `connect ${namespace}`, error.message); socket.close(); done() })
  })
  // In long polling an event and its acknowledgement are separate calls.
  const acknowledged = transport === 'websocket' ? 'acknowledged' : 'sent'
  const call = async (socket, event, ...args) => {
    await socket.emitWithAck(event, ...args)
    say(transport, `event ${event}`, acknowledged)
  }

  const socket = open('/')
  socket.on('question', (text, acknowledge) => {
    say(transport, 'event question', transport === 'websocket' ? 'acknowledged' : 'received')
    acknowledge(42)
  })
  await connected(socket, '/')
  await call(socket, 'order', { id: 1 })
  const noted = new Promise((done) => socket.once('noted', done))
  socket.emit('note', 'hello ✓')
  say(transport, 'event note', 'sent')
  await noted
  say(transport, 'event noted', 'received')
  await Promise.all([2, 3, 4].map((id) => call(socket, 'order', { id })))
  await call(socket, 'upload', Buffer.alloc(300, 7))
  await call(socket, 'ask')
  await socket.timeout(100).emitWithAck('forget').catch(() => say(transport, 'event forget', transport === 'websocket' ? 'no response' : 'sent'))

  const admin = open('/admin', { token: 'not-for-the-table' })
  await connected(admin, '/admin')
  await call(admin, 'remove', 'ann')
  await connected(open('/admin', { token: 'wrong' }), '/admin')
  await connected(open('/nowhere'), '/nowhere')
  await sleep(1000) // for a ping
  admin.disconnect()
  socket.disconnect()
  say(transport, 'disconnect /admin', 'ok')
  say(transport, 'disconnect /', 'ok')
  await sleep(200)
}

await session('websocket')
await session('polling')
writeFileSync(file, `# transport\taction\tresult\n${lines.map((line) => `${line}\n`).join('')}`)
