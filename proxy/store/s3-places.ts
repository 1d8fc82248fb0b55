import { setTimeout as sleep } from 'node:timers/promises'
import { StoreTimeoutError, StoreUnavailableError } from './breaker.ts'
import type { ObjectBody } from './s3-body.ts'

/** Thrown by the next read of a body that ended while its reader paused, for no fault of S3's: it goes on where it is opened again. */
export class BodyParkedError extends Error {
  override readonly name = 'BodyParkedError'
}

/**
 * Bounds the bodies that are open at a time, each of which holds a connection for as long as its reader likes. Where all
 * places are taken, the one whose reader has asked for nothing for longest loses its own: slow readers take S3 from nobody.
 */
export interface BodyPlaces {
  /** Opens a body once there is a place for it; throws StoreUnavailableError where none gets free soon. */
  open<T extends { readonly body: ObjectBody }>(work: () => Promise<T | undefined>): Promise<T | undefined>
}

interface Place {
  /** Since when its reader asks for nothing; undefined while it waits for bytes. */
  idleSince: number | undefined
  park: () => void
}

const waitMs = 1_000
const lookEachMs = 50
/** Who reads as fast as it can pauses for less. */
const restMs = 250
/** A connection on which nothing moved for longer may have been closed, here or there. */
const pauseMs = 1_000

export function createBodyPlaces(max: number): BodyPlaces {
  /** The one that was read longest ago first. */
  const places = new Set<Place>()

  async function take(): Promise<Place> {
    for (const until = performance.now() + waitMs; places.size >= max && !parkOne(); await sleep(lookEachMs))
      if (performance.now() >= until) throw new StoreUnavailableError('too many bodies of S3 are being read')
    const place: Place = { idleSince: undefined, park: () => {} }
    places.add(place)
    return place
  }

  function parkOne(): boolean {
    const now = performance.now()
    for (const place of places) {
      if (place.idleSince === undefined || now - place.idleSince < restMs) continue
      places.delete(place)
      place.park()
      return true
    }
    return false
  }

  function withPlace(body: ObjectBody, place: Place): ObjectBody {
    let isParked = false
    place.idleSince = performance.now()
    place.park = () => {
      isParked = true
      body.destroy()
    }
    return {
      async next() {
        if (isParked) throw new BodyParkedError('the body made room for another')
        const hasPaused = performance.now() - (place.idleSince ?? 0) > pauseMs
        place.idleSince = undefined
        try {
          return hasPaused ? await nextAfterPause(body) : await body.next()
        } finally {
          place.idleSince = performance.now()
          if (places.delete(place)) places.add(place)
        }
      },
      destroy() {
        places.delete(place)
        body.destroy()
      },
    }
  }

  return {
    async open(work) {
      const place = await take()
      const opened = await work().catch((error: unknown) => {
        places.delete(place)
        throw error
      })
      if (!opened) places.delete(place)
      return opened && { ...opened, body: withPlace(opened.body, place) }
    },
  }
}

async function nextAfterPause(body: ObjectBody): Promise<Uint8Array | undefined> {
  try {
    return await body.next()
  } catch (error) {
    if (error instanceof StoreTimeoutError) throw error
    throw new BodyParkedError('the connection was closed while nothing was read', { cause: error })
  }
}
