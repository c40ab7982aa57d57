"""A driven pendulum through a Python loop of 400 steps, unrolled into the program, and its gradient by four constants."""

import numpy as np

STEP = 0.02

WHOLE_REFERENCE = True


def inputs(tiny):
    """Damping, stiffness, drive and its frequency (4,), the angles at the start (n,), and the numbers of the steps."""
    steps = 8 if tiny else 400
    return np.array([0.1, 1.5, 0.3, 0.8]), np.linspace(-1.0, 1.0, 10), np.zeros(steps)


def program(m):
    """The mean squared angle at the end, and its gradient."""
    xp = m.numpy

    def loss(constants, angle, steps):
        damping, stiffness, drive, frequency = constants
        speed = xp.zeros_like(angle)
        for number in range(len(steps)):
            push = drive * xp.cos(frequency * (number * STEP))
            speed = speed + STEP * (push - damping * speed - stiffness * xp.sin(angle))
            angle = angle + STEP * speed
        return xp.mean(angle**2)

    def evaluate(constants, angle, steps):
        value, gradient = m.value_and_grad(loss)(constants, angle, steps)
        return {"gradient": gradient, "value": value}

    return evaluate


def reference(constants, angle, steps):
    """With the sensitivities of angle and speed to the constants carried along."""
    damping, stiffness, drive, frequency = constants
    speed = np.zeros_like(angle)
    d_angle, d_speed = np.zeros((2, 4, len(angle)))
    for number in range(len(steps)):
        t = number * STEP
        push, swing = np.cos(frequency * t), np.sin(angle)
        direct = np.stack(
            [-speed, -swing, np.full_like(angle, push), np.full_like(angle, -drive * t * np.sin(frequency * t))]
        )
        d_speed = d_speed + STEP * (direct - damping * d_speed - stiffness * np.cos(angle) * d_angle)
        speed = speed + STEP * (drive * push - damping * speed - stiffness * swing)
        d_angle = d_angle + STEP * d_speed
        angle = angle + STEP * speed
    return {"gradient": np.mean(2 * angle * d_angle, axis=1), "value": np.mean(angle**2)}
