"""
A receptive field from gradients
================================

Where in the image would a change alter the response of a unit? The network is untrained, which the
geometry does not mind.
"""

import matplotlib.pyplot as plt

from core.utils import TorchScorer, grad_RF_estimate, gradmap2RF_square

scorer = TorchScorer("resnet18", pretrained=False, device="cpu")
field = grad_RF_estimate(
    scorer.model, ".layer2.BasicBlock1", (5, 14, 14), input_size=(3, 227, 227), reps=10, batch=2
)
box = gradmap2RF_square(field)
print(box)

figure, axes = plt.subplots(figsize=(3.5, 3), layout="constrained")
image = axes.imshow(field, cmap="magma")
axes.set(xlabel="Pixel", ylabel="Pixel", title="UNTRAINED resnet18, layer2")
figure.colorbar(image, label="mean absolute gradient")
plt.show()
