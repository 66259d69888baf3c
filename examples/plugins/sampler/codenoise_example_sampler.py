"""Adds the sampler ``euler``: Euler's method on the probability flow, the same steps as ddim's."""

from codenoise import hookimpl


def euler_step(x, epsilon, alpha_bar, next_alpha_bar):
    """Follow the noise, in latents scaled to unit signal, from one noise level to the next."""
    noise, next_noise = (((1 - level) / level) ** 0.5 for level in (alpha_bar, next_alpha_bar))
    scaled = x / alpha_bar**0.5 + (next_noise - noise) * epsilon
    return scaled * next_alpha_bar**0.5


@hookimpl
def codenoise_samplers():
    """The step by the name that a recipe gives."""
    return {"euler": euler_step}
