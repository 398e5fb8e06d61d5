// Reads server events, a line of JSON each, and prints those that the Agents SDK does not understand: it passes over them.

import { createInterface } from "node:readline";
import { parseRealtimeEvent } from "./node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.mjs";

for await (const line of createInterface({ input: process.stdin })) {
  if (parseRealtimeEvent({ data: line }).isGeneric) console.log(line.slice(0, 300));
}
