/**
 * Where the poses come from. In an app this is a camera and MediaPipe's PoseLandmarker; here it is
 * a recording, played in real time: the number of frames (uint32), their times in milliseconds
 * (uint32 each) and their landmarks (132 float32 each; not a number where the camera saw nothing).
 */

const VALUES = 33 * 4;

/** Load a recording; `play` gives each frame, or null for one that the camera could not make. */
export async function openPoses(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the recording could not be loaded: ${answer.status}`);
  const buffer = await answer.arrayBuffer();
  const [count] = new Uint32Array(buffer, 0, 1);
  const times = new Uint32Array(buffer, 4, count);
  const values = new Float32Array(buffer, 4 + 4 * count, count * VALUES);
  let next = 0;
  const frameAt = (n) => {
    const frame = values.subarray(n * VALUES, (n + 1) * VALUES);
    return Number.isNaN(frame[0]) ? null : frame;
  };
  return {
    play(origin, see) {
      const step = () => {
        // What came due while the page was busy comes at its own time all the same.
        for (; next < count && origin + times[next] <= performance.now(); next++) {
          see(frameAt(next), origin + times[next]);
        }
        if (next < count) setTimeout(step, origin + times[next] - performance.now());
      };
      step();
    },
  };
}
