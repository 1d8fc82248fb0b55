import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Answers the requests of each connection one at a time, so that a thousand pipelined ones cost what one costs. */
export interface Connections {
  /**
   * Runs `start` once every earlier response of this connection has closed; never, when the connection is lost first.
   * One that sends too far ahead is: Node reads on for as long as it waits for us, and each request is kilobytes in memory.
   */
  inTurn(socket: Socket, response: ServerResponse, start: () => void): void
  isBusy(socket: Socket): boolean
}

const mostWaiting = 1024

export function createConnections(): Connections {
  const last = new WeakMap<Socket, ServerResponse>()
  const waiting = new WeakMap<Socket, number>()

  function changeWaiting(socket: Socket, by: 1 | -1): void {
    const count = (waiting.get(socket) ?? 0) + by
    waiting.set(socket, count)
    if (count > mostWaiting) socket.destroy()
  }

  return {
    inTurn(socket, response, start) {
      if (socket.destroyed) return
      const previous = last.get(socket)
      last.set(socket, response)
      response.once('close', () => {
        if (last.get(socket) === response) last.delete(socket)
      })
      if (previous === undefined) {
        start()
        return
      }
      changeWaiting(socket, 1)
      previous.once('close', () => {
        changeWaiting(socket, -1)
        if (!socket.destroyed) start()
      })
    },
    isBusy: (socket) => last.has(socket),
  }
}
