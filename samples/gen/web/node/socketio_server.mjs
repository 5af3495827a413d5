// The server of socketio.pcapng.
import { createServer } from 'node:http'
import { Server } from 'socket.io'

const [host, port] = process.argv.slice(2)
const http = createServer()
const io = new Server(http, { pingInterval: 700, pingTimeout: 500, serveClient: false })
io.on('connection', (socket) => {
  socket.on('order', (order, acknowledge) => acknowledge({ ok: true, id: order.id }))
  socket.on('note', (text) => socket.emit('noted', text))
  socket.on('forget', () => {})
  socket.on('upload', (file, acknowledge) => acknowledge({ size: file.length, back: Buffer.from([1, 2, 3]) }))
  socket.on('ask', (acknowledge) => socket.emit('question', 'how many?', acknowledge))
})
const admin = io.of('/admin')
admin.use((socket, next) => next(socket.handshake.auth.token === 'not-for-the-table' ? undefined : new Error('not authorized')))
admin.on('connection', (socket) => socket.on('remove', (who, acknowledge) => acknowledge(`removed ${who}`)))
http.listen(Number(port), host, () => console.log('ready'))
