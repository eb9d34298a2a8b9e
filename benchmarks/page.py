"""How large an exported page is, and how long it takes for a picture in Chromium.

    python benchmarks/page.py MODEL PICTURE... [--chromium chromium] [--repeats 20]

MODEL is a file of an int8 model, or palm. Prints the bytes of the page, and for each picture the
least and the median milliseconds of decoding, of all that a picture takes (decoding, its rows,
scaling, the network, probabilities and map), and of the engine alone, on the square.
"""

from __future__ import annotations

import argparse
import base64
import statistics
import tempfile
from pathlib import Path

# In the worker, whose names these are.
MEASURE = """async ([data, repeats]) => {
    const { answer, square, memory } = await engine;
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const times = { decoding: [], all: [], engine: [] };
    for (let i = 0; i < repeats; i += 1) {
        const file = new Blob([bytes]);
        let begun = performance.now();
        (await createImageBitmap(file, AS_STORED)).close();
        times.decoding.push(performance.now() - begun);
        begun = performance.now();
        await look(file);
        times.all.push(performance.now() - begun);
        const { side } = model;
        const rgb = new Uint8Array(memory.buffer, square(), 3 * side * side).slice();
        const rgba = new Uint8Array(4 * side * side).fill(255);
        rgb.forEach((byte, i) => { rgba[4 * Math.floor(i / 3) + (i % 3)] = byte; });
        let y = 0;
        nextRow = () => rgba.subarray(4 * side * y, 4 * side * ++y);
        begun = performance.now();
        answer(side, side);
        times.engine.push(performance.now() - begun);
    }
    return times;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    import squeezenet_c as sq

    model = sq.palm.model() if options.model == "palm" else sq.Model.load(options.model)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder, "eyes.html")
        model.export(page_file)
        print(f"page: {page_file.stat().st_size:,} bytes")
        browser = playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox"]
        )
        page = browser.new_page()
        with page.expect_event("worker") as worker:
            page.goto(page_file.as_uri())
        for path in options.pictures:
            data = base64.b64encode(Path(path).read_bytes()).decode("ascii")
            times = worker.value.evaluate(MEASURE, [data, options.repeats])
            parts = [
                f"{name} {min(values):.1f} ({statistics.median(values):.1f})"
                for name, values in times.items()
            ]
            print(f"{path}: milliseconds, the least (the median): {', '.join(parts)}")
        browser.close()


if __name__ == "__main__":
    main()
