#!/usr/bin/env node
import { resolve } from 'node:path'
import { runOnOwnNode } from './own-node.js'

// `node cli/node.js test/run.ts …` runs a script of this project on the Node it needs.
const [script, ...args] = process.argv.slice(2)
if (script === undefined) {
  process.stderr.write('usage: node cli/node.js <script> [arguments]\n')
  process.exitCode = 1
} else {
  await runOnOwnNode(resolve(script), args)
}
