"""What an analyst would use instead of an expert."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

Float32 = NDArray[np.float32]


def ridge(train_condition: Float32, train_target: Float32, condition: Float32) -> Float32:
    """Ridge regression of target latents on condition latents.

    The penalty is chosen by leave-one-out error on the training patients.

    Parameters
    ----------
    train_condition, train_target
        Shapes ``(patients, condition_dim)`` and ``(patients, dim)``.
    condition
        Patients to predict for, shape ``(others, condition_dim)``.

    Returns
    -------
    Float32
        Shape ``(others, dim)``.
    """
    model = RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(train_condition, train_target)
    return np.asarray(model.predict(condition), dtype=np.float32)
