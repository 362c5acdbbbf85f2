from rkdo_plugin.export.providers import MAX_BATCH, provider_options


def names(provider):
    return [name for name, _ in provider_options(provider, 224, 3, "a" * 64)]


def test_the_cpu_is_never_a_second_choice():
    assert names("cpu") == ["CPUExecutionProvider"]
    assert names("cuda") == ["CUDAExecutionProvider"]
    assert names("tensorrt") == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


def test_cuda_keeps_the_arithmetic_of_the_parity_gate():
    ((_, options),) = provider_options("cuda", 224, 3, "a" * 64)
    assert options["use_tf32"] == "0"


def test_tensorrt_covers_every_batch_that_a_session_runs():
    (_, options), _ = provider_options("tensorrt", 224, 3, "a" * 64)
    assert options["trt_profile_min_shapes"] == "image:1x224x224x3"
    assert options["trt_profile_max_shapes"] == f"image:{MAX_BATCH}x224x224x3"


def test_tensorrt_engines_of_different_weights_lie_apart():
    folders = {
        provider_options("tensorrt", 224, 3, sha * 64)[0][1]["trt_engine_cache_path"]
        for sha in "ab"
    }
    assert len(folders) == 2
