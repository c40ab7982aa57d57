# %% [markdown]
# # 07 Convolution: loops, im2col, primitive
#
# What a convolution computes, three ways to compute it, and why its gradients are convolutions. Images are (height, width,
# channels), kernels (height, width, in, out), as everywhere in `nn`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import data, lax, nn

rng = np.random.default_rng(0)
image, kernel = rng.normal(size=(8, 9, 3)), rng.normal(size=(3, 3, 3, 4))

# %% [markdown]
# ## Loops
#
# $$y_{ijo} = \sum_{a,b,c} x_{i+a,\,j+b,\,c}\; w_{abco}$$
#
# The kernel is not flipped: what everybody calls a convolution is a correlation.


# %%
def conv_loops(x, w):
    height, width = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    y = fnp.zeros((height, width, w.shape[3]))  # a plain array when nothing is traced
    for i in range(height):
        for j in range(width):
            for o in range(w.shape[3]):
                y[i, j, o] = np.sum(x[i : i + w.shape[0], j : j + w.shape[1]] * w[..., o])
    return y


expected = conv_loops(image, kernel)
print(image.shape, "*", kernel.shape, "->", expected.shape)

# %% [markdown]
# ## A product for each tap
#
# Turn the loops inside out. For a fixed tap $(a, b)$ of the kernel, all positions together are one product of matrices: the image,
# moved by $(a, b)$, times the $3\times4$ matrix $w_{ab}$. Nine products instead of many small sums.


# %%
def conv_taps(x, w):
    height, width = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    taps = ((a, b) for a in range(w.shape[0]) for b in range(w.shape[1]))
    return sum(x[a : a + height, b : b + width] @ w[a, b] for a, b in taps)


np.testing.assert_allclose(conv_taps(image, kernel), expected, atol=1e-12)

# %% [markdown]
# ## im2col
#
# Or one large product: copy the patch of each position into a row. In NumPy the patches are a *view*, with strides that visit
# elements many times; the product then needs them in memory, nine times the image. That is the price of im2col.


# %%
def conv_im2col(x, w):
    height, width = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    columns = [x[a : a + height, b : b + width] for a in range(w.shape[0]) for b in range(w.shape[1])]
    patches = fnp.stack(columns, axis=2)  # (height, width, taps, in)
    return (patches.reshape(height * width, -1) @ w.reshape(-1, w.shape[3])).reshape(height, width, -1)


np.testing.assert_allclose(conv_im2col(image, kernel), expected, atol=1e-12)

view = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(0, 1))
assert view.base is not None and view.size > 4 * image.size
print("image:", image.size, "elements; patches:", view.size, "; strides of the view:", view.strides)

# %% [markdown]
# ## The primitive
#
# `nn.conv` is one equation, between transposes to the layout of the primitive, with strides, padding, dilation and groups. `lax.conv_general_dilated` has all layouts.

# %%
np.testing.assert_allclose(nn.conv(image[None], kernel, padding="VALID")[0], expected, atol=1e-12)
fg.make_jaxpr(lambda x, w: nn.conv(x, w, padding="VALID"))(image[None], kernel)

# %% [markdown]
# ## Its gradients are convolutions
#
# A convolution is linear in the image and in the kernel, so that its gradients are its two transposes. Follow an element
# $x_{pq}$: it goes to all $y_{p-a,\,q-b}$, with the weight $w_{ab}$. So
#
# $$\bar x_{pqc} = \sum_{a,b,o} \bar y_{p-a,\,q-b,\,o}\, w_{abco},$$
#
# which is a convolution of $\bar y$, padded by two on all sides, with the kernel flipped in space and transposed in its channels.
# With strides, $\bar y$ is *dilated*: zeros stand between its elements. And $\bar w_{abco} = \sum_{ij} x_{i+a,j+b,c}\,\bar y_{ijo}$
# is a convolution of the image with $\bar y$ as its kernel.

# %%
ct = rng.normal(size=expected.shape)
_, pullback = fg.vjp(lambda x, w: nn.conv(x[None], w, padding="VALID")[0], image, kernel)
d_image, d_kernel = pullback(ct)

padded = np.pad(ct, [(2, 2), (2, 2), (0, 0)])
flipped = kernel[::-1, ::-1].swapaxes(2, 3)
np.testing.assert_allclose(d_image, conv_loops(padded, flipped), atol=1e-12)

by_image = np.einsum("abcij,ijo->abco", np.lib.stride_tricks.sliding_window_view(image, ct.shape[:2], axis=(0, 1)), ct)
np.testing.assert_allclose(d_kernel, by_image, atol=1e-12)

# %% [markdown]
# The functions above differentiate as they stand, the loops with their assignments too, and agree:

# %%
for conv in (conv_loops, conv_taps, conv_im2col):
    ours = fg.grad(lambda x, w, conv=conv: fnp.sum(conv(x, w) * ct), argnums=(0, 1))(image, kernel)
    np.testing.assert_allclose(ours[0], d_image, atol=1e-12)
    np.testing.assert_allclose(ours[1], d_kernel, atol=1e-12)

strided = lambda x: nn.conv(x[None], kernel, strides=2, padding="VALID")[0]
y, pullback = fg.vjp(strided, image)
ct = rng.normal(size=y.shape)
# Zeros between the elements, and two on each side; the last row of the image is used by no window.
dilated = lax.pad(ct, 0.0, ((2, 3, 1), (2, 2, 1), (0, 0, 0)))
np.testing.assert_allclose(pullback(ct)[0], conv_loops(np.asarray(dilated), flipped), atol=1e-12)

# %% [markdown]
# ## Learning a kernel
#
# What does a kernel look like that was learned? Show images of digits and their horizontal edges, and let the gradient find the
# operator.

# %%
digits = data.load_digits()[0][:200].reshape(-1, 8, 8, 1).astype(float)
sobel = np.array([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]])[..., None, None]
edges = nn.conv(digits, sobel)
loss = lambda w: nn.losses.mse(nn.conv(digits, w), edges)


@fg.jit
def descend(w):
    return lax.fori_loop(0, 300, lambda _, w: w - 0.5 * fg.grad(loss)(w), w)


learned = descend(np.zeros((3, 3, 1, 1)))
np.testing.assert_allclose(learned, sobel, atol=0.05)

_, axes = plt.subplots(1, 4, figsize=(8, 2.2))
pictures = {"image": digits[3], "edges": edges[3], "operator": sobel[..., 0], "learned": learned[..., 0]}
for ax, (title, picture) in zip(axes, pictures.items()):
    ax.imshow(picture[..., 0], cmap="gray_r" if title == "image" else "RdBu_r")
    ax.set_title(title)
    ax.set_axis_off()
plt.show()

# %% [markdown]
# **Next:** `docs/course.md`, homework 4, for pooling, ResNet-9 and the rest.
