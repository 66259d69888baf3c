"""Adds the architecture ``linear``: the smallest denoiser that looks at its condition."""

from codenoise import hookimpl


@hookimpl
def codenoise_architectures():
    """The network, imported only now."""
    from codenoise_example_linear import LinearDenoiser

    return {"linear": LinearDenoiser}
