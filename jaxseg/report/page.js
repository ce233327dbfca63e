'use strict';
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);

  // Shows one layer of an image, or none: the image alone.
  function show(holder, layer) {
    for (const image of all('[data-layer]', holder)) image.hidden = image.dataset.layer !== layer;
    for (const button of all('[data-show]', holder)) {
      button.setAttribute('aria-pressed', String(button.dataset.show === layer));
    }
  }

  function showEverywhere(layer) {
    show(document, layer);
  }

  document.addEventListener('click', (event) => {
    const button = event.target.closest('[data-show]');
    if (!button) return;
    const pressed = button.getAttribute('aria-pressed') === 'true';
    const layer = pressed ? '' : button.dataset.show;
    const card = button.closest('.card');
    if (button.closest('dialog')) show(enlarged, layer);
    else if (card) show(card, layer);
    else showEverywhere(layer);
  });

  const opacity = one('#opacity');
  if (opacity) {
    const apply = () => {
      document.documentElement.style.setProperty('--opacity', opacity.value / 100);
    };
    opacity.addEventListener('input', apply);
    apply();
  }

  // The enlarged image: a copy of the card's, moved and scaled.
  const enlarged = one('#enlarged');
  const cards = all('.card');
  let current = 0, scale = 1, x = 0, y = 0;

  function place() {
    const stack = one('#stage .stack');
    stack.style.transformOrigin = '0 0';
    stack.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    stack.classList.toggle('pixels', scale > 4 || cards[current].querySelector('.pixels') !== null);
  }

  function enlarge(index) {
    current = (index + cards.length) % cards.length;
    const card = cards[current];
    const stack = document.createElement('div');
    stack.className = card.querySelector('.stack').className;
    for (const image of all('.stack img', card)) stack.append(image.cloneNode());
    one('#stage').replaceChildren(stack);
    one('#enlarged-name').textContent = card.querySelector('figcaption b').textContent + ' ' +
        card.querySelector('.name').textContent;
    one('#enlarged-layers').replaceChildren(
        ...all('.layers button', card).map((button) => button.cloneNode(true)));
    [scale, x, y] = [1, 0, 0];
    place();
    if (!enlarged.open) enlarged.showModal();
  }

  // Keeps the point (px, py) of the stage where it is.
  function zoom(factor, px, py) {
    const next = Math.min(64, Math.max(1, scale * factor));
    x = px - (px - x) * next / scale;
    y = py - (py - y) * next / scale;
    scale = next;
    if (scale === 1) [x, y] = [0, 0];
    place();
  }

  function zoomMiddle(factor) {
    const box = one('#stage').getBoundingClientRect();
    zoom(factor, box.width / 2, box.height / 2);
  }

  cards.forEach((card, index) => {
    card.querySelector('.stack').addEventListener('click', () => enlarge(index));
  });

  if (enlarged) {
    const stage = one('#stage');
    stage.addEventListener('wheel', (event) => {
      event.preventDefault();
      const box = stage.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - box.x, event.clientY - box.y);
    }, {passive: false});
    // One pointer moves the image, two pinch it.
    const pointers = new Map();
    stage.addEventListener('pointerdown', (event) => {
      stage.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    stage.addEventListener('pointermove', (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY];
      const box = stage.getBoundingClientRect();
      if (pointers.size === 2) {
        const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const length = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
        zoom(length(now) / Math.max(length(before), 1),
             (now[0] + other[0]) / 2 - box.x, (now[1] + other[1]) / 2 - box.y);
      } else {
        x += now[0] - before[0];
        y += now[1] - before[1];
        place();
      }
      pointers.set(event.pointerId, now);
    });
    for (const kind of ['pointerup', 'pointercancel']) {
      stage.addEventListener(kind, (event) => pointers.delete(event.pointerId));
    }
    one('#close').addEventListener('click', () => enlarged.close());
    for (const button of all('[data-zoom]')) {
      button.addEventListener('click', () => zoomMiddle(Number(button.dataset.zoom)));
    }
    for (const button of all('[data-step]')) {
      button.addEventListener('click', () => enlarge(current + Number(button.dataset.step)));
    }
  }

  document.addEventListener('keydown', (event) => {
    if (!enlarged || event.ctrlKey || event.metaKey || event.altKey) return;
    const button = one(`.gallery > .toolbar [data-key="${CSS.escape(event.key)}"]`);
    if (button) {
      if (enlarged.open) show(enlarged, button.dataset.show);
      else showEverywhere(button.dataset.show);
    } else if (enlarged.open) {
      const actions = {
        'ArrowRight': () => enlarge(current + 1), 'ArrowLeft': () => enlarge(current - 1),
        '+': () => zoomMiddle(1.5), '=': () => zoomMiddle(1.5), '-': () => zoomMiddle(0.67),
      };
      if (Object.hasOwn(actions, event.key)) actions[event.key]();
    }
  });

  // A click on a column's name sorts by it, first from the largest value down, and the first
  // column, which holds names, from A to Z; the next click reverses the order.
  for (const table of all('table.sortable')) {
    const heads = all('thead th', table);
    heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
      const before = head.getAttribute('aria-sort');
      const up = column ? before === 'descending' : before !== 'ascending';
      for (const other of heads) other.setAttribute('aria-sort', 'none');
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const value = (row) => {
        const cell = row.children[column];
        const number = Number(cell.dataset.value ?? cell.textContent);
        return Number.isNaN(number) ? cell.textContent : number;
      };
      const compare = (a, b) => typeof a === 'number' && typeof b === 'number'
          ? a - b : String(a).localeCompare(String(b));
      const body = table.querySelector('tbody');
      const rows = all('tr', body).sort((a, b) => compare(value(a), value(b)));
      body.append(...(up ? rows : rows.reverse()));
    }));
  }

  // A matrix of many classes is an image; the cell under the pointer is named.
  const matrix = one('#matrix-image');
  if (matrix) {
    const {names, confusion_matrix: counts} = JSON.parse(one('#data').textContent);
    matrix.addEventListener('pointermove', (event) => {
      const box = matrix.getBoundingClientRect();
      const place = (offset, side) => Math.min(
          names.length - 1, Math.max(0, Math.floor(offset / side * names.length)));
      const row = place(event.clientY - box.y, box.height);
      const column = place(event.clientX - box.x, box.width);
      const total = counts[row].reduce((sum, count) => sum + count, 0);
      const share = total ? (100 * counts[row][column] / total).toFixed(1) : '0.0';
      one('#matrix-cell').textContent = `true ${names[row]}, predicted ${names[column]}: ` +
          `${counts[row][column].toLocaleString('en')} pixels, ${share} % of ${names[row]}`;
    });
  }
})();
