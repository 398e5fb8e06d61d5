/** Finding and making elements. Text goes in as text alone. */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function the(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (found);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {string} className
 * @param {...(Node | string)} inside
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(name, className = '', ...inside) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...inside);
  return element;
}

/** @param {HTMLElement} element @param {string} text */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Record<string, string>} text */
export function translate(text) {
  /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-t], [data-label]')).forEach((element) => {
    const { t, label } = element.dataset;
    if (t) element.textContent = text[t];
    if (label) element.setAttribute('aria-label', text[label]);
    if (label && element instanceof HTMLInputElement) element.placeholder = text[label];
  });
}

/**
 * A field or a button, which have more to them than an element.
 * @param {string} id
 */
export function control(id) {
  return /** @type {HTMLInputElement} */ (the(id));
}
