"""Exported files on the GPU: every profile of the CUDA provider, by the gates."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lived_in import MEAN, STD, in_float64, lived_in

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
torchvision = pytest.importorskip("torchvision")

from rkdo_plugin import create_encoder
from rkdo_plugin.export import (
    CPUSettings,
    CUDASettings,
    EmbeddingSession,
    Encoder,
    ProviderError,
    export_onnx,
    verify,
)
from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.file.metadata import INPUT, OUTPUT
from rkdo_plugin.export.file.model_file import read_model
from rkdo_plugin.export.runtime.dlpack import require_at_hand, run_in_place
from rkdo_plugin.export.runtime.libraries import preload
from rkdo_plugin.export.runtime.providers import NAMES, provider_options
from rkdo_plugin.export.runtime.settings import Settings
from rkdo_plugin.export.runtime.trial import trial
from rkdo_plugin.export.verification.distances import distances
from rkdo_plugin.export.verification.gates import GATES

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("exact_products")]

PROFILES = {
    "parity": {},
    "channels last": {"nhwc": True},
    "memory limit": {"memory_limit": 2**31},
    "CUDA graphs": {"cuda_graphs": (1, 8)},
}


@pytest.fixture(scope="module")
def settings(on_gpu):
    """The provider's settings with given options; CPUSettings in the dry run."""
    if on_gpu and (reason := trial("cuda")) is not None:
        pytest.skip(f"needs onnxruntime with CUDA, but {reason}")

    def make(**options) -> Settings:
        return CUDASettings(**options) if on_gpu else CPUSettings()

    return make


@pytest.fixture(scope="module")
def encoders(on_gpu):
    """A ResNet and, where timm is installed, a vision transformer."""
    if not on_gpu:
        backbone = lived_in(create_encoder("small-convnet"))
        return {"small": Encoder(backbone, image_size=16, mean=MEAN, std=STD)}
    resnet = torchvision.models.resnet18()
    resnet.fc = torch.nn.Identity()
    found = {"resnet18": Encoder(lived_in(resnet), image_size=96, mean=MEAN, std=STD)}
    try:
        import timm
    except ImportError:
        return found
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=96)
    return found | {"vit": Encoder(vit, image_size=96, mean=MEAN, std=STD)}


@pytest.fixture(scope="module")
def files(encoders, settings, tmp_path_factory):
    """Each encoder in float32 and in float16, verified on the CPU."""
    folder, written = tmp_path_factory.mktemp("exported"), {}
    for name, encoder in encoders.items():
        for precision in ("fp32", "fp16"):
            path = folder / f"{name}-{precision}.onnx"
            export_onnx(encoder, path, precision=precision)
            written[name, precision] = path
    return written


def pictures(encoder, count=43):
    return sample_images(count, encoder.image_size, encoder.channels)


def require_gate(found, expected, precision="fp32"):
    apart = distances(expected.astype(np.float64), found.astype(np.float64))
    gate = GATES[precision]
    assert apart.finite
    assert apart.max_abs <= gate.max_abs
    assert apart.one_minus_cosine.max() <= gate.max_one_minus_cosine
    assert apart.max_norm_error <= gate.max_norm_error


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_provider_passes_verification(precision, encoders, files, settings):
    for name, encoder in encoders.items():
        report = verify(files[name, precision], encoder, provider=settings().provider)
        assert report.passed and report.provider == settings().provider, str(report)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_in_float32_is_within_the_gate(
    profile, encoders, files, settings
):
    """Against PyTorch on the CPU, in float64; in batches that fit and that do not."""
    for name, encoder in encoders.items():
        images = pictures(encoder)
        session = EmbeddingSession(files[name, "fp32"], settings(**PROFILES[profile]))
        expected = in_float64(encoder, images)
        require_gate(session.embed(images), expected)
        for count in (1, 5, 8):
            require_gate(session.embed(images[:count]), expected[:count])
        assert session.embed(images[:0]).shape == (0, session.dim)


@pytest.mark.parametrize("options", [{}, {"nhwc": True}, {"cuda_graphs": (8,)}])
def test_float16_is_within_its_gate(options, encoders, files, settings):
    for name, encoder in encoders.items():
        images = pictures(encoder)
        session = EmbeddingSession(files[name, "fp16"], settings(**options))
        require_gate(session.embed(images), in_float64(encoder, images), "fp16")


def test_the_speed_profile_computes_in_tf32(encoders, files, settings):
    """Ten bits of each factor: no gate, but nobody's neighbour."""
    for name, encoder in encoders.items():
        images = pictures(encoder)
        session = EmbeddingSession(files[name, "fp32"], settings(profile="speed"))
        cosines = (session.embed(images) * in_float64(encoder, images)).sum(axis=1)
        assert cosines.min() >= 0.999


@pytest.mark.usefixtures("only_gpu")
def test_graphs_are_captured_and_replayed(encoders, files, settings):
    """Also from another thread's stream, in inference mode, and after other work."""
    for name, encoder in encoders.items():
        images = pictures(encoder)
        plain = EmbeddingSession(files[name, "fp32"], settings())
        graphs = EmbeddingSession(files[name, "fp32"], settings(cuda_graphs=(1, 8)))
        assert graphs._captured is not None and plain._captured is None
        for start, count in ((0, 8), (8, 8), (16, 1), (17, 5), (0, 43), (0, 8)):
            part = images[start : start + count]
            torch.randn(1024, 1024, device="cuda").mm(
                torch.ones(1024, 1, device="cuda")
            )
            np.testing.assert_allclose(
                graphs.embed(part), plain.embed(part), rtol=0, atol=1e-5
            )
        other = torch.cuda.Stream()
        with torch.cuda.stream(other), torch.inference_mode():
            here = torch.from_numpy(images[:8]).to(graphs.device)
            found = graphs.embed_tensor(here).cpu().numpy()
        np.testing.assert_allclose(found, plain.embed(images[:8]), rtol=0, atol=1e-5)


class Addresses:
    """What is bound to runs of a session: names, devices and addresses."""

    def __init__(self, session):
        self.session, self.bound = session, []

    def io_binding(self):
        binding, bound = self.session.io_binding(), self.bound

        class Recording:
            def bind_input(self, name, device, number, dtype, shape, address):
                bound.append((name, device, address))
                binding.bind_input(name, device, number, dtype, shape, address)

            def bind_output(self, name, device, number, dtype, shape, address):
                bound.append((name, device, address))
                binding.bind_output(name, device, number, dtype, shape, address)

        recording = Recording()
        recording.of_runtime = binding
        return recording

    def run_with_iobinding(self, binding):
        self.session.run_with_iobinding(binding.of_runtime)


def test_tensors_are_read_and_written_where_they_are(encoders, files, settings, device):
    for name, encoder in encoders.items():
        session = EmbeddingSession(files[name, "fp32"], settings())
        session._session = addresses = Addresses(session._session)
        images = torch.from_numpy(pictures(encoder)).to(device)
        found = session.embed_tensor(images)
        assert addresses.bound == [
            (INPUT, device.type, images.data_ptr()),
            (OUTPUT, device.type, found.data_ptr()),
        ]
        require_gate(found.cpu().numpy(), in_float64(encoder, pictures(encoder)))


def test_dlpack_shares_the_memory(encoders, files, settings, device):
    """Of an object that is no tensor of torch's; of CuPy's arrays where it is there."""

    class Foreign:
        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack__(self, **options):
            return self.tensor.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.tensor.__dlpack_device__()

    ((name, encoder), *_) = encoders.items()
    session = EmbeddingSession(files[name, "fp32"], settings())
    images = torch.from_numpy(pictures(encoder)).to(device)
    foreigners = [Foreign(images)]
    if device.type == "cuda":
        try:
            import cupy

            foreigners.append(cupy.from_dlpack(images))
        except ImportError:
            pass
    for foreign in foreigners:
        assert require_at_hand(foreign, session.device).data_ptr() == images.data_ptr()
        assert torch.equal(session.embed_tensor(foreign), session.embed_tensor(images))


def test_embeddings_are_written_into_a_store(encoders, files, settings, device):
    """By IO binding, into rows of a tensor that is there already."""
    ((name, encoder), *_) = encoders.items()
    session = EmbeddingSession(files[name, "fp32"], settings())
    images = torch.from_numpy(pictures(encoder)).to(device)
    store = torch.full((len(images) + 2, session.dim), 7.0, device=device)
    run_in_place(session._session, images, store[1:-1])
    assert torch.equal(store[1:-1], session.embed_tensor(images))
    assert (store[[0, -1]] == 7).all()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_no_node_runs_on_another_provider(
    precision, encoders, files, settings, tmp_path
):
    """By the runtime's own profile, with its fallback to the CPU left on."""
    provider = NAMES[settings().provider]
    preload("cuda")  # as a session does; it does no harm in the dry run
    for name, encoder in encoders.items():
        content = read_model(files[name, precision]).content
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(tmp_path / name)
        images = pictures(encoder, 8)
        choice = provider_options(settings(), images.shape[1:], content)
        session = onnxruntime.InferenceSession(content, options, providers=choice)
        session.run([OUTPUT], {INPUT: images})
        events = json.loads(Path(session.end_profiling()).read_text())
        where = {
            event["args"]["provider"]
            for event in events
            if event.get("args", {}).get("provider")
        }
        assert where == {provider}


@pytest.mark.usefixtures("only_gpu")
def test_what_a_gpu_cannot_do_is_an_error_and_no_fallback(files, settings):
    path = next(iter(files.values()))
    missing = settings(device=torch.cuda.device_count() + 7)
    with pytest.raises(ProviderError, match="'cuda' to load but"):
        EmbeddingSession(path, missing)
    assert EmbeddingSession(path, "auto").provider == "cuda"


def test_images_on_another_device_are_refused(encoders, files, settings, device):
    ((name, encoder), *_) = encoders.items()
    session = EmbeddingSession(files[name, "fp32"], settings())
    elsewhere = "cpu" if device.type == "cuda" else "meta"
    images = torch.from_numpy(pictures(encoder)).to(elsewhere)
    with pytest.raises(
        ValueError, match=f"where this session computes, .* {elsewhere}"
    ):
        session.embed_tensor(images)
