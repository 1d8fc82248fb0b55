import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Answers the requests of each connection one at a time, so that a thousand pipelined ones cost what one costs. */
export interface Connections {
  /** Runs `start` once every earlier response of this connection has closed; never, when the connection is lost first. */
  inTurn(socket: Socket, response: ServerResponse, start: () => void): void
  isBusy(socket: Socket): boolean
}

export function createConnections(): Connections {
  const last = new WeakMap<Socket, ServerResponse>()

  return {
    inTurn(socket, response, start) {
      const previous = last.get(socket)
      last.set(socket, response)
      response.once('close', () => {
        if (last.get(socket) === response) last.delete(socket)
      })
      if (previous === undefined) start()
      else {
        previous.once('close', () => {
          if (!socket.destroyed) start()
        })
      }
    },
    isBusy: (socket) => last.has(socket),
  }
}
