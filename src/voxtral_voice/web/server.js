/** What is asked of the server besides the conversation. */

/** @param {string} key */
function headers(key) {
  return /** @type {Record<string, string>} */ (key ? { 'X-API-Key': key } : {});
}

/**
 * How far the models are; null where the server does not say.
 * @param {string} key
 */
export async function loading(key) {
  try {
    const answer = await fetch('status', { headers: headers(key), cache: 'no-store' });
    if (!answer.ok) return null;
    const { models } = await answer.json();
    const all = Object.entries(models);
    const share = all.reduce((sum, [, model]) => sum + (model.state === 'ready' ? 1 : model.progress * 0.95), 0) / (all.length || 1);
    const failed = all.find(([, model]) => model.state === 'failed');
    const at = failed ?? all.find(([, model]) => model.state === 'loading' && model.detail !== 'waiting') ?? all[0];
    const ready = all.length > 0 && all.every(([, model]) => model.state === 'ready');
    return { share, models, ready, failed: failed ? failed[1].detail : '', detail: at ? `${at[0].replaceAll('_', ' ')}: ${at[1].detail}` : '' };
  } catch (error) {
    if (error instanceof TypeError) return null; // nobody answers
    throw error;
  }
}

/** @param {string} key @returns {Promise<{id: string, language: string, gender: string}[]>} none where the server does not say */
export async function voices(key) {
  const answer = await fetch('v1/audio/voices', { headers: headers(key) });
  return answer.ok ? (await answer.json()).data : [];
}

/**
 * A voice reading a sentence, at the wire's rate.
 * @param {string} key
 * @param {{voice: string, speed: number, text: string}} wish
 * @returns {Promise<ArrayBuffer>}
 * @throws {Error} with the server's own words
 */
export async function sample(key, { voice, speed, text }) {
  const answer = await fetch('v1/audio/speech', {
    method: 'POST',
    headers: { ...headers(key), 'Content-Type': 'application/json' },
    body: JSON.stringify({ input: text, voice, speed, response_format: 'pcm' }),
  });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer.arrayBuffer();
}
