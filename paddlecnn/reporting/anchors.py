"""Published accuracies to hold a run against, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Anchor:
    """A published top-1 accuracy on the test images of a data set."""

    data: str
    models: str  # glob pattern of our networks that it can be compared with
    top1: float
    network: str  # the publication's own words
    source: str
    link: str = ""


TUTORIAL = "PaddlePaddle v2 tutorial 用PaddlePaddle和Tensorflow实现经典CNN网络AlexNet"
BEARPAW = ("README of bearpaw/pytorch-classification", "https://github.com/bearpaw/pytorch-classification")
KUANGLIU = ("README of kuangliu/pytorch-cifar", "https://github.com/kuangliu/pytorch-cifar")
WEIAICUNZAI = ("README of weiaicunzai/pytorch-cifar100", "https://github.com/weiaicunzai/pytorch-cifar100")

# Errors of the sources as accuracies. None of them states that the epoch was chosen without the test images.
ANCHORS = (
    Anchor("cifar10", "lenet5", 0.60, "LeNet-5, 200 passes, 'about 60 %'", TUTORIAL),
    Anchor("cifar10", "alexnet*", 0.7722, "alexnet, 2.47 M parameters", *BEARPAW),
    Anchor("cifar10", "vgg16*_cifar", 0.9264, "VGG16", *KUANGLIU),
    Anchor("cifar10", "vgg19*_cifar", 0.9334, "vgg19_bn", *BEARPAW),
    Anchor("cifar100", "alexnet*", 0.4387, "alexnet, 2.47 M parameters on CIFAR-10", *BEARPAW),
    Anchor("cifar100", "vgg11*_cifar", 0.6864, "vgg11_bn, 200 epochs", *WEIAICUNZAI),
    Anchor("cifar100", "vgg13*_cifar", 0.7200, "vgg13_bn, 200 epochs", *WEIAICUNZAI),
    Anchor("cifar100", "vgg16*_cifar", 0.7293, "vgg16_bn, 200 epochs", *WEIAICUNZAI),
    Anchor("cifar100", "vgg19*_cifar", 0.7223, "vgg19_bn, 200 epochs", *WEIAICUNZAI),
    Anchor("cifar100", "vgg19*_cifar", 0.7195, "vgg19_bn", *BEARPAW),
)


def anchors_for(data: str, model: str) -> list[Anchor]:
    """The published accuracies for a data set and a network; none if no source that can be named has one."""
    return [anchor for anchor in ANCHORS if anchor.data == data and fnmatchcase(model, anchor.models)]
