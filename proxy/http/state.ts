import type { FastifyInstance } from 'fastify'
import type { StateBoard } from '../internal/state-board.ts'
import { statePath } from '../routes.ts'

const longestWaitSeconds = 60

/** 304 when nothing else is there to be told than what the asker knows. */
export function registerState(app: FastifyInstance, board: Pick<StateBoard, 'read'>): void {
  app.get(statePath, async (request, reply) => {
    const { after, wait } = request.query as Readonly<Record<string, unknown>>
    const known = typeof after === 'string' && after !== '' ? after : undefined
    const seconds = Number(wait ?? 0)
    const waitMs = seconds >= 0 ? 1000 * Math.min(seconds, longestWaitSeconds) : 0
    const state = await board.read(known, waitMs)
    return state === undefined ? reply.code(304).send() : reply.send(state)
  })
}
