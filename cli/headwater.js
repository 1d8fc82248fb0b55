#!/usr/bin/env node
import { fileURLToPath } from 'node:url'
import { runOnOwnNode } from './own-node.js'

await runOnOwnNode(fileURLToPath(new URL('main.ts', import.meta.url)), process.argv.slice(2))
