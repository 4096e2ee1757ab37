// Points drawn by WebGL; or pixel by pixel where there is no WebGL, or only one without a GPU.

import { drawnByPixel } from "./pixels.js";
import { ALPHAS, RING, SIZES, countDrawn } from "./states.js";

/**
 * @typedef {import("./states.js").Paint} Paint
 * @typedef {import("./states.js").PointLayer} PointLayer
 */

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

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

/** Whether WebGL runs on a GPU; a browser may run it on the CPU, and says so in its name only. */
function hasGpu() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return false;
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !SOFTWARE.test(name);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} coordinates
 * @param {Paint} paint
 * @returns {PointLayer}
 */
export function makePointLayer(canvas, coordinates, paint) {
  const gl = hasGpu() ? canvas.getContext("webgl2", { antialias: false, depth: false }) : null;
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
    draw(camera, { size, ratio, share, detail, ink }) {
      gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(places.centre, camera.x, camera.y);
      gl.uniform2f(places.scale, (2 * camera.scale) / camera.width, (2 * camera.scale) / camera.height);
      gl.uniform1f(places.size, size * ratio);
      gl.uniform1f(places.least, RING * ratio);
      gl.uniform1f(places.share, share);
      gl.uniform3f(places.ink, ink[0] / 255, ink[1] / 255, ink[2] / 255);
      for (let state = 0; state < ALPHAS.length; state += 1) {
        gl.drawElements(gl.POINTS, countDrawn(paint, state, detail), gl.UNSIGNED_INT, 4 * paint.starts[state]);
      }
    },
    release: () => gl.getExtension("WEBGL_lose_context")?.loseContext(),
  };
}
