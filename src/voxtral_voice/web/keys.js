/** The keyboard: none of its keys means anything while somebody types or a menu has them. */

/**
 * @typedef {{talk: (down: boolean) => void, mute: () => void, interrupt: () => void, write: () => void}} Does
 * @param {Does} does
 */
export function listen(does) {
  let held = false;
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) {
      if (held && event.code === 'Space') event.preventDefault();
      return;
    }
    if (document.querySelector('dialog[open]')) return;
    if (takesKeys(event.target)) {
      if (event.key === 'Escape') /** @type {HTMLElement} */ (event.target).blur();
      return;
    }
    if (event.key === 'Escape') does.interrupt();
    else if (event.code === 'Space' && !takesSpace(event.target)) {
      event.preventDefault();
      held = true;
      does.talk(true);
    } else if (event.key.toLowerCase() === 'm') does.mute();
    else if (event.key === '/') {
      event.preventDefault();
      does.write();
    }
  });
  addEventListener('keyup', (event) => {
    if (event.code !== 'Space' || !held) return;
    held = false;
    event.preventDefault();
    does.talk(false);
  });
  addEventListener('blur', () => {
    if (held) does.talk(false);
    held = false;
  });
}

/** @param {EventTarget | null} target */
function takesKeys(target) {
  return target instanceof HTMLElement && target.matches('input, textarea, select, [contenteditable]');
}

/** @param {EventTarget | null} target */
function takesSpace(target) {
  return target instanceof HTMLElement && target.matches('button, summary, a') && target.id !== 'start';
}
