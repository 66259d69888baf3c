"""Adds the sampler ``adams``: the two-step Adams-Bashforth method on the probability flow.

It remembers the slope of the step before, so that one evaluation of the experts per step gives
second order (linear multistep sampling, Liu et al. 2022).
"""

from itertools import pairwise

from codenoise import hookimpl


def adams(predict, x, levels, noise):
    """Follow the flow in latents scaled to unit signal, whose slope by noise level is the noise."""
    noises = [((1 - level) / level) ** 0.5 for level in levels]
    scaled, before, width_before = x / levels[0] ** 0.5, None, None
    for step, (now, after) in enumerate(pairwise([*noises, 0.0])):
        slope = predict(scaled * levels[step] ** 0.5, step)
        ahead = slope
        if before is not None:
            ahead = slope + (after - now) / (2 * width_before) * (slope - before)
        scaled = scaled + (after - now) * ahead
        before, width_before = slope, after - now
    return scaled


@hookimpl
def codenoise_samplers():
    """The sampler by the name that a recipe gives."""
    from codenoise.core.diffusion.samplers import SamplingMethod

    return {"adams": SamplingMethod(adams)}
