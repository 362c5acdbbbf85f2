"""`rkdo serve`: encoders that answer requests."""

from rkdo_plugin.export.serving.server_settings import ServerSettings


def serve(
    models: list[str], settings: ServerSettings, kubernetes: bool = False
) -> None:
    """Serve exported files over HTTP and gRPC, by the Open Inference Protocol v2.

    Args:
        models: ONNX files; in requests each has its file's name, without the ending.
        settings: Where the server listens, and its limits.
        kubernetes: Print a manifest for KServe instead, which scales past one machine.
    """
    if kubernetes:
        from rkdo_plugin.export.serving.server.manifest import manifest

        print(manifest(models, settings), end="")
        return
    from rkdo_plugin.export.serving.server.run import serve

    serve(models, settings)
