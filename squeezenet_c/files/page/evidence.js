// Activation maps, and how they are drawn over a picture: inference/cam.py in the browser, with its
// numbers (MODEL.map).

// A map's cells, (n, n) as one array, for each pixel of the square: bilinear between the pixels that
// cells look at, from 0 where the evidence is least to 1 where it is most.
function evidenceOf(cells, side, centres) {
  const count = centres.length;
  const places = Array.from({ length: side }, (_, pixel) => placeBetween(pixel, centres));
  const evidence = new Float32Array(side * side);
  places.forEach(([top, down], y) =>
    places.forEach(([left, right], x) => {
      const at = (row, column) => cells[row * count + column];
      const next = (cell) => Math.min(cell + 1, count - 1);
      const upper = at(top, left) * (1 - right) + at(top, next(left)) * right;
      const lower = at(next(top), left) * (1 - right) + at(next(top), next(left)) * right;
      evidence[y * side + x] = upper * (1 - down) + lower * down;
    }),
  );
  const least = evidence.reduce((a, b) => Math.min(a, b));
  const span = evidence.reduce((a, b) => Math.max(a, b)) - least;
  return evidence.map((value) => (span > 0 ? (value - least) / span : 0));
}

// Which of some ascending numbers comes before a value, and what share of the way to the next one
// it is: as of the first or last one beyond these.
function placeBetween(value, numbers) {
  const last = numbers.length - 1;
  if (value <= numbers[0]) return [0, 0];
  if (value >= numbers[last]) return [last, 0];
  const before = numbers.findIndex((number) => number > value) - 1;
  return [before, (value - numbers[before]) / (numbers[before + 1] - numbers[before])];
}

// The picture as the network sees it, bytes of red, green and blue, to be drawn.
function imageOf(square) {
  const side = Math.sqrt(square.length / 3);
  const image = new ImageData(side, side);
  image.data.fill(255);
  for (let pixel = 0; pixel < side * side; pixel += 1)
    for (let c = 0; c < 3; c += 1) image.data[4 * pixel + c] = square[3 * pixel + c];
  return image;
}

// The same under a map's colours, of whose shares in the mixture `opacity` is taken: at 1 what
// `squeezenet-c explain` draws.
function overlayOf(square, evidence, opacity, { colours, shares }) {
  const image = imageOf(square);
  const stops = colours.map((_, stop) => stop / (colours.length - 1));
  evidence.forEach((value, pixel) => {
    const [stop, part] = placeBetween(value, stops);
    const share = opacity * (shares[0] + value * (shares[1] - shares[0]));
    const above = colours[Math.min(stop + 1, colours.length - 1)];
    for (let c = 0; c < 3; c += 1) {
      const heat = 255 * (colours[stop][c] * (1 - part) + above[c] * part);
      image.data[4 * pixel + c] = (1 - share) * square[3 * pixel + c] + share * heat;
    }
  });
  return image;
}
