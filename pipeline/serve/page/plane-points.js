// Points drawn by WebGL in one call, or pixel by pixel on a canvas where there is no WebGL.

/** Of a point: left out by a filter, out of focus, as usual, or selected. Later ones are drawn above. */
export const STATES = { filtered: 0, unfocused: 1, usual: 2, selected: 3 };

const ALPHAS = [0.13, 0.4, 0.88, 1]; // by state
const SIZES = [0.7, 1, 1, 1.7];
const RING = 7; // pixels of a selected point, at least

/**
 * Colours before and after a change (4 bytes a point), and states; `draw` reads what `update` was called for.
 *
 * @typedef {{before: Uint8Array, after: Uint8Array, states: Uint8Array, order: Uint32Array}} Paint
 * @typedef {{update: () => void, draw: (camera: import("./plane-camera.js").Camera, look: Look) => void, release: () => void}} PointLayer
 * @typedef {{size: number, ratio: number, share: number, ink: number[]}} Look `size` in pixels of CSS; `share` of the change from before to after
 */

const VERTEX = `#version 300 es
in vec2 place; in vec4 before; in vec4 after; in float state;
uniform vec2 centre; uniform vec2 scale; uniform float size; uniform float least; uniform float share;
const vec3 grey = vec3(0.59, 0.6, 0.62); uniform float alphas[4]; uniform float sizes[4];
out vec4 colour; flat out float ring;
void main() {
  int number = int(state + 0.5);
  gl_Position = vec4((place - centre) * scale, 0.0, 1.0);
  ring = number == 3 ? 1.0 : 0.0;
  gl_PointSize = max(size * sizes[number], ring * least);
  colour = vec4(number == 1 ? grey : mix(before.rgb, after.rgb, share), alphas[number]);
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 colour; flat in float ring; uniform vec3 ink; out vec4 pixel;
void main() {
  vec2 off = gl_PointCoord - 0.5;
  float far = dot(off, off);
  if (far > 0.25) discard;
  pixel = vec4((ring > 0.5 && far > 0.1 ? ink : colour.rgb) * colour.a, colour.a);
}`;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} coordinates
 * @param {Paint} paint
 * @returns {PointLayer}
 */
export function makePointLayer(canvas, coordinates, paint) {
  const gl = canvas.getContext("webgl2", { antialias: false, depth: false, alpha: true, powerPreference: "high-performance" });
  return gl ? drawnByWebgl(gl, coordinates, paint) : drawnByPixel(canvas, coordinates, paint);
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {Float32Array} coordinates
 * @param {Paint} paint
 * @returns {PointLayer}
 */
function drawnByWebgl(gl, coordinates, paint) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(Number(type));
    if (!shader) break; // the context is lost, and will be restored
    gl.shaderSource(shader, String(source));
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  ["place", "before", "after", "state"].forEach((name, number) => gl.bindAttribLocation(program, number, name));
  gl.linkProgram(program);
  gl.useProgram(program);
  /** @param {string} name */
  const at = (name) => gl.getUniformLocation(program, name);
  const places = { centre: at("centre"), scale: at("scale"), size: at("size"), least: at("least"), share: at("share"), ink: at("ink") };
  gl.uniform1fv(at("alphas"), ALPHAS);
  gl.uniform1fv(at("sizes"), SIZES);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  /**
   * @param {number} number
   * @param {Float32Array | Uint8Array} values
   * @param {number} size
   */
  function attribute(number, values, size, { isShare = false } = {}) {
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(number);
    gl.vertexAttribPointer(number, size, values instanceof Float32Array ? gl.FLOAT : gl.UNSIGNED_BYTE, isShare, 0, 0);
    return () => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, values);
    };
  }
  attribute(0, coordinates, 2);
  const updates = [attribute(1, paint.before, 4, { isShare: true }), attribute(2, paint.after, 4, { isShare: true }), attribute(3, paint.states, 1)];
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, paint.order, gl.DYNAMIC_DRAW);

  return {
    update() {
      for (const update of updates) update();
      gl.bufferSubData(gl.ELEMENT_ARRAY_BUFFER, 0, paint.order);
    },
    draw(camera, { size, ratio, share, ink }) {
      gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(places.centre, camera.x, camera.y);
      gl.uniform2f(places.scale, (2 * camera.scale) / camera.width, (2 * camera.scale) / camera.height);
      gl.uniform1f(places.size, size * ratio);
      gl.uniform1f(places.least, RING * ratio);
      gl.uniform1f(places.share, share);
      gl.uniform3f(places.ink, ink[0] / 255, ink[1] / 255, ink[2] / 255);
      gl.drawElements(gl.POINTS, paint.order.length, gl.UNSIGNED_INT, 0);
    },
    release: () => gl.getExtension("WEBGL_lose_context")?.loseContext(),
  };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} coordinates
 * @param {Paint} paint
 * @returns {PointLayer}
 */
function drawnByPixel(canvas, coordinates, { before, after, states, order }) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser draws nothing: it has neither WebGL nor a canvas");
  let image = context.createImageData(1, 1);
  let pixels = new Uint32Array(image.data.buffer);

  return {
    update() {},
    draw(camera, { size, ratio, share, ink }) {
      const { width, height } = canvas;
      if (image.width !== width || image.height !== height) {
        image = context.createImageData(width, height);
        pixels = new Uint32Array(image.data.buffer);
      }
      pixels.fill(0);
      const dark = (0xff000000 | (ink[2] << 16) | (ink[1] << 8) | ink[0]) >>> 0;
      /**
       * @param {number} x
       * @param {number} y
       * @param {number} side
       * @param {number} colour
       */
      const square = (x, y, side, colour) => {
        const [left, right] = [Math.max(0, Math.round(x - side / 2)), Math.min(width, Math.round(x + side / 2))];
        const bottom = Math.min(height, Math.round(y + side / 2));
        for (let line = Math.max(0, Math.round(y - side / 2)); line < bottom; line += 1) {
          if (right > left) pixels.fill(colour, line * width + left, line * width + right);
        }
      };
      for (const point of order) {
        const state = states[point];
        const side = Math.max(1, size * SIZES[state] * ratio);
        const x = camera.screenX(coordinates[2 * point]) * ratio;
        const y = camera.screenY(coordinates[2 * point + 1]) * ratio;
        if (x < -side || y < -side || x > width + side || y > height + side) continue;
        const at = 4 * point;
        /** @param {number} channel */
        const blend = (channel) => (state === STATES.unfocused ? 152 : Math.round(before[at + channel] + (after[at + channel] - before[at + channel]) * share));
        const alpha = Math.round(255 * ALPHAS[state]);
        if (state === STATES.selected) square(x, y, Math.max(RING * ratio, side) + 3 * ratio, dark);
        square(x, y, side, ((alpha << 24) | (blend(2) << 16) | (blend(1) << 8) | blend(0)) >>> 0);
      }
      context.putImageData(image, 0, 0);
    },
    release() {},
  };
}
