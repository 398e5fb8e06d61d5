// A conversation through OpenAI's Agents SDK.
//
//     arecord -q -t raw -f S16_LE -r 24000 | node examples/agents_talk.mjs | aplay -q -t raw -f S16_LE -r 24000
//
// Sound is 24 kHz, 16 bit, mono; what is said comes as text on standard error. Needs `npm install @openai/agents-realtime zod`.

import { RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";

const url = process.env.URL ?? "http://127.0.0.1:8000";
const agent = new RealtimeAgent({ name: "Ada", instructions: "Answer in one short sentence." });
const session = new RealtimeSession(agent, { transport: "websocket" });
const shown = new Set();

session.on("history_updated", (history) => {
  for (const item of history) {
    const text = item.content?.map((part) => part.transcript ?? part.text ?? "").join("");
    if (item.status === "in_progress" || !text || shown.has(item.itemId)) continue;
    shown.add(item.itemId);
    console.error(item.role === "user" ? "you:" : "it:", text);
  }
});
session.on("audio", (event) => process.stdout.write(Buffer.from(event.data)));
session.on("audio_interrupted", () => console.error("(interrupted)"));
session.on("error", (event) => console.error("error:", event.error));

await session.connect({
  url: `${url.replace("http", "ws")}/v1/realtime?model=voxtral-voice`,
  apiKey: process.env.VOXTRAL_API_KEY ?? "none",
});
console.error("listening");
for await (const chunk of process.stdin) {
  session.sendAudio(chunk.buffer.slice(chunk.byteOffset, chunk.byteOffset + chunk.byteLength));
}
session.close();
