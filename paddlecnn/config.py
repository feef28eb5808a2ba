"""The schema of a config: type, range, default and meaning of every key.

Defaults are set here, so that a YAML file contains only what defines the experiment. Unknown keys are errors, and so
are values of another type: "yes" is not a number. `configfile.py` reads files and overrides into it.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

# The bounds keep products of several keys within machine integers.
Int = Annotated[int, Strict(), Field(ge=-(10**9), le=10**9)]
Bool = Annotated[bool, Strict()]
Float = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=-1e30, le=1e30)]
PositiveInt = Annotated[Int, Field(gt=0)]
Pixels = Annotated[Int, Field(gt=0, le=8192)]
Count = Annotated[Int, Field(ge=0)]
PositiveFloat = Annotated[Float, Field(gt=0)]
NonNegative = Annotated[Float, Field(ge=0)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
Share = Annotated[Float, Field(gt=0, le=1)]
Shrinking = Annotated[Float, Field(gt=0, lt=1)]
Triple = Annotated[list[Float], Field(min_length=3, max_length=3)]
Expanded = AfterValidator(os.path.expanduser)  # ~ is the home folder
Place = Annotated[str, Expanded]
OrOff = BeforeValidator(lambda value: "off" if value is False else value)  # YAML 1.1 reads the word off as false

Monitor = Literal["top1", "loss", "balanced", "last"]
TEST_VIEWS = ("none", "flip", "shift", "crops", "scales")  # the kinds of `prediction_views`


class Section(BaseModel):
    """A group of keys. Unknown keys are errors; values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocess(Section):
    """The steps from an image file to the network's input, the same in training, evaluation and prediction.

    An omitted key takes the value published with the weights, or else the data set's own.
    """

    size: Pixels | None = None  # side of the square input, in pixels
    resize: Pixels | None = None  # side of the square from which the input is cut; null: `size` itself
    # How an image becomes a square of `resize`. crop (or null): the short side is resized, the long one cut at both
    # ends; squeeze: both sides are resized, so the whole image is seen, with its proportions changed.
    fit: Literal["crop", "squeeze"] | None = None
    channels: Literal["rgb", "bgr"] | None = None  # order of the input channels
    scale: PositiveFloat | None = None  # pixels 0..255 are divided by this: 255 gives 0..1, 1 leaves 0..255
    mean: Triple | None = None  # subtracted after scaling, one per channel, in the order of `channels`
    std: Triple | None = None  # divided by after that


# The preprocessing of the ImageNet weights published for `paddle.vision` and torchvision.
IMAGENET_PREPROCESS = Preprocess(
    size=224, resize=256, channels="rgb", scale=255.0, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
)


class ColorJitter(Section):
    """Random changes of brightness, contrast and saturation: each factor from 1 - x to 1 + x."""

    brightness: NonNegative = 0.0  # x of the factor on all values
    contrast: NonNegative = 0.0  # x of the factor on the distance from the mean grey
    saturation: NonNegative = 0.0  # x of the factor on the distance from the pixel's own grey


class RandomResizedCrop(Section):
    """A random part of the image, stretched to the input size (Szegedy et al. 2015)."""

    scale: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0)  # share of the image's area
    ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 4 / 3)  # width over height


class Affine(Section):
    """A random rotation, zoom, shear and shift of the input around its centre; `pad_mode` fills what it uncovers."""

    rotate: NonNegative = 0.0  # largest angle to either side, in degrees
    zoom: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)  # range of the enlargement; below 1 the image shrinks
    shear: Annotated[Float, Field(ge=0, lt=90)] = 0.0  # largest slant of the vertical lines to either side, in degrees
    shift: Fraction = 0.0  # largest shift in each direction, as a share of the side


class Augment(Section):
    """Random changes of the training images. All are off by default."""

    crop: Bool = False  # cut the input out at a random place of the resized image, not at its centre
    # With crop, the number of fixed places that it chooses from: centre, corners, then others; 0: any place. Features
    # of frozen layers can be computed once for each of a few places, but not for any place.
    crop_places: Annotated[Count, Field(le=64)] = 0
    # Pixels added around the resized image before such a crop; a value above 0 implies crop.
    pad: Annotated[Count, Field(le=8192)] = 0
    pad_mode: Literal["zeros", "reflect"] = "zeros"  # what the padding and the surroundings of `affine` show
    # With crop, the range from which the side of each image's square is drawn before the crop, in pixels, instead of
    # preprocess.resize (VGG, section 3.1: 256 to 512); both ends count.
    scale: tuple[Pixels, Pixels] | None = None
    # Mirror left and right with probability 1/2; alternating: a random half in the first epoch, the other half in the
    # next, and so on (Jordan 2024), so that two epochs show both forms of each image.
    flip: Bool | Literal["alternating"] = False
    vertical_flip: Bool = False  # mirror top and bottom with probability 1/2
    random_resized_crop: RandomResizedCrop | None = None
    affine: Affine | None = None
    color_jitter: ColorJitter | None = None
    pca_noise: NonNegative = 0.0  # standard deviation of the paper's lighting noise (AlexNet, section 4.1: 0.1)
    cutout: Count = 0  # side of a square of the mean colour at a random place, in pixels (DeVries and Taylor 2017)
    mixup: NonNegative = 0.0  # alpha of mixup (Zhang et al. 2018)
    cutmix: NonNegative = 0.0  # alpha of CutMix (Yun et al. 2019)

    @model_validator(mode="after")
    def places_are_of_a_crop(self) -> Augment:
        if self.crop_places and not (self.crop or self.pad):
            raise ValueError(f"crop_places {self.crop_places}: without crop or pad nothing is cropped; set crop: true")
        return self

    @model_validator(mode="after")
    def scale_is_of_a_crop(self) -> Augment:
        if self.scale is None:
            return self
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale {list(self.scale)}: the range must not fall")
        if not self.crop or self.crop_places or self.pad or self.random_resized_crop:
            raise ValueError("scale: needs crop: true, and no crop_places, pad or random_resized_crop beside it")
        return self


class DataConfig(Section):
    """The images, their split and their processing."""

    name: Annotated[str, Strict()]  # a name from docs/data.md, or one registered by `model.module`
    root: Place = "data"  # folder that holds the data; for `folder`, the tree itself
    table: Place | None = None  # for `table`, relative to data.root: the file with the labels, e.g. train.csv ...
    images: Place | None = None  # ... the folder of its images; null: data.root itself ...
    test: Place | None = None  # ... and the images without labels: a folder, or a table that names some of `images`
    labels: Literal["fine", "coarse"] = "fine"  # CIFAR-100: 100 classes or 20 superclasses
    # Share of the training images kept for validation; unused where the data have a validation part of their own. 0:
    # all are trained on, and the last epoch counts as the best.
    val_fraction: Fraction = 0.15
    folds: Annotated[Int, Field(ge=2)] | None = None  # cross-validation: number of folds ...
    fold: Count = 0  # ... and which of them is validation; val_fraction is then unused
    split: Place | None = None  # folder with train.txt, val.txt (with folds: images of both) and optional test.csv
    exclude: Place | None = None  # text file with one id per line: images left out of training and validation
    limit: PositiveInt | None = None  # use at most this many images of each part, for a trial
    preprocess: Preprocess = Preprocess()
    augment: Augment = Augment()
    cache: Place | None = None  # folder for resized images in one memory-mapped file
    workers: Annotated[Count, Field(le=256)] = 0  # threads that read image files; 0 reads one batch at a time

    @property
    def validates(self) -> bool:
        """Whether images are kept for validation."""
        return self.val_fraction > 0 or self.split is not None or self.folds is not None

    @model_validator(mode="after")
    def fold_exists(self) -> DataConfig:
        if self.folds is None and self.fold:
            raise ValueError(f"fold {self.fold}: is one of data.folds, which is not set; set it, or leave fold out")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}: folds are numbered from 0 to {self.folds - 1}")
        return self


class ModelConfig(Section):
    """Which network, and where its weights come from."""

    name: str  # one of `paddlecnn summary --list`, or registered by `module`
    module: Place | None = None  # own networks, data sets: a file (my_nets.py) or a dotted name (docs/extending.md)
    options: dict[str, Any] = {}  # options of the network (docs/models.md), e.g. {dropout: 0.3}
    weights: Place | None = None  # a weight file, or the name of a published one (docs/weights.md)
    # The folder of published files; null: $PADDLECNN_WEIGHTS, or else ~/.cache/paddlecnn/weights
    weights_dir: Place | None = None
    strict: Bool = True  # false: load what fits and list the rest
    # Layers that keep their weights: none; features (all convolutions); a layer's name (pool4): it and all before it;
    # or a list of names.
    freeze: str | list[str] = "none"

    @model_validator(mode="after")
    def options_leave_the_rest(self) -> ModelConfig:
        for key, source in (("name", "model.name"), ("num_classes", "the data's classes")):
            if key in self.options:
                raise ValueError(f"options.{key}: not an option; it follows {source}")
        return self


class WithWarmup(Section):
    """A schedule that can begin with a warm-up."""

    name: str
    warmup: NonNegative = 0.0  # epochs at the beginning in which the rate rises linearly from 0


class Constant(WithWarmup):
    """The learning rate stays constant."""

    name: Literal["constant"] = "constant"  # the schedule


class Step(WithWarmup):
    """Multiplied by `gamma` after every `step_size` epochs of the run, warm-up included."""

    name: Literal["step"]  # the schedule
    step_size: PositiveFloat  # epochs between two drops
    gamma: Shrinking = 0.1  # factor at a drop


class MultiStep(WithWarmup):
    """Multiplied by `gamma` after each epoch of the run in `milestones`, warm-up included."""

    name: Literal["multistep"]  # the schedule
    milestones: Annotated[list[PositiveFloat], Field(min_length=1)]  # epochs after which the rate drops, increasing
    gamma: Shrinking = 0.1  # factor at a drop

    @model_validator(mode="after")
    def milestones_increase(self) -> MultiStep:
        if sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"milestones {self.milestones}: the epochs must increase")
        return self


class Cosine(WithWarmup):
    """Half a cosine from lr to `final_factor` * lr over the epochs after the warm-up (Loshchilov and Hutter 2017)."""

    name: Literal["cosine"]  # the schedule
    final_factor: Fraction = 0.0  # last learning rate, as a share of lr


class OneCycle(Section):
    """Up to lr over `warmup_fraction` of the run, then down to nearly nothing (Smith and Topin 2018)."""

    name: Literal["onecycle"]  # the schedule
    warmup_fraction: Annotated[Float, Field(gt=0, lt=1)] = 0.3  # share of the run in which the rate rises
    shape: Literal["cosine", "linear"] = "cosine"  # of both parts
    initial_factor: Share = 0.04  # first learning rate, as a share of lr
    final_factor: Share = 1e-4  # last learning rate, as a share of lr


class Exponential(WithWarmup):
    """Multiplied by `gamma` each epoch, smoothly."""

    name: Literal["exponential"]  # the schedule
    gamma: Shrinking  # factor of an epoch


class Plateau(WithWarmup):
    """Multiplied by `gamma` when validation has not improved for `patience` epochs (AlexNet, section 5; VGG, 3.1).

    An improvement is a score better than all earlier ones of the run; the count restarts at a drop. All epochs of the
    run count, warm-up included. With `train.ema` or `train.swa` the scores are those of the average.
    """

    name: Literal["plateau"]  # the schedule
    patience: PositiveInt  # epochs in succession without improvement
    gamma: Shrinking = 0.1  # factor at a drop
    metric: Literal["top1", "loss"] = "top1"  # the score that must improve; the papers' error is 1 - top1


class Custom(WithWarmup):
    """lr times a function of your own, registered by `model.module` (docs/extending.md)."""

    name: Literal["custom"]  # the schedule
    function: str  # its registered name


Schedule = Annotated[
    Union[Constant, Step, MultiStep, Cosine, OneCycle, Exponential, Plateau, Custom],  # noqa: UP007
    Field(discriminator="name"),
]


class OptimConfig(Section):
    """How the weights are updated."""

    name: Literal["sgd", "momentum", "nesterov", "adam", "adamw"] = "momentum"  # the optimizer
    lr: PositiveFloat = 0.01  # learning rate; the schedule multiplies it
    momentum: Fraction = 0.9  # momentum and nesterov
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)  # adam and adamw
    eps: PositiveFloat = 1e-8  # adam and adamw
    weight_decay: NonNegative = 0.0  # adamw: decoupled; the others: added to the gradient
    decay_biases_and_norms: Bool = True  # false exempts biases and normalisation parameters
    clip_norm: PositiveFloat | None = None  # gradients are scaled down to this global norm
    # Factors on the learning rate of parameters by the start of their name or a pattern ("features.norm*.bias"); the
    # longest match counts. 0 leaves the parameters unchanged.
    lr_scale: dict[str, NonNegative] = {}
    lr_scale_decay: Bool = True  # false: lr_scale changes the rate but not the strength of the weight decay
    schedule: Schedule = Constant()


class EarlyStop(Section):
    """Stop when validation has not improved for `patience` epochs."""

    patience: PositiveInt  # epochs without improvement
    min_delta: NonNegative = 0.0  # smallest change that counts as an improvement


class CheckpointConfig(Section):
    """When checkpoints are written and how many are kept. One is always written at an epoch's end."""

    keep: PositiveInt = 2  # how many of the last ones are kept, beside the best
    every_steps: PositiveInt | None = None  # also after this many steps inside an epoch
    every_minutes: PositiveFloat | None = None  # also after this many minutes inside an epoch


class TrainConfig(Section):
    """The training loop."""

    epochs: PositiveInt  # passes over the training images
    batch_size: PositiveInt = 128  # over all processes together
    accumulate: PositiveInt = 1  # a batch is computed in this many parts, one after another
    label_smoothing: Fraction = 0.0  # share of the probability that is spread over all classes
    # Weights of the classes in the training loss: balanced, in inverse proportion to their training images, or a list
    # with one number per class, of which only the ratios count. Validation is not weighted.
    class_weights: Literal["balanced"] | list[PositiveFloat] | None = None
    # What selects the best epoch, on validation. balanced: the mean recall over the classes. last: nothing; the last
    # epoch counts as the best, so that the images of a fold have no influence on the network that they measure.
    monitor: Monitor = "top1"
    early_stop: EarlyStop | None = None
    ema: Annotated[Float, Field(gt=0, lt=1)] | None = None  # decay of an average of the weights, used in evaluation
    # Instead of ema: the mean of the weights at the ends of the epochs after this share of all, e.g. 0.75, used in
    # evaluation from then on (stochastic weight averaging, Izmailov et al. 2018).
    swa: Annotated[Float, Field(ge=0, lt=1)] | None = None
    # What runs the layers on a CPU: auto is oneDNN if available. The environment variable PADDLECNN_ENGINE sets another
    # default.
    engine: Literal["auto", "paddle", "onednn"] = Field(
        default_factory=lambda: os.environ.get("PADDLECNN_ENGINE", "auto"), validate_default=True
    )
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # of activations: bfloat16 by oneDNN or a GPU
    # Where the outputs of frozen layers are kept, so that they are computed once: a folder; off: nowhere; auto: in
    # cache/features, if the augmentation leaves few enough views of each image.
    feature_cache: Annotated[str, Field(min_length=1), Expanded, OrOff] = "auto"
    log_every: PositiveInt = 10  # steps between two logged steps
    # Whether `paddlecnn train` writes report.html at the end; the environment variable PADDLECNN_REPORT=false (0, no)
    # turns the default off.
    report: Bool = Field(
        default_factory=lambda: os.environ.get("PADDLECNN_REPORT", "").lower() not in ("false", "0", "no")
    )
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def one_average(self) -> TrainConfig:
        if self.ema is not None and self.swa is not None:
            raise ValueError("train.swa: the other average of the weights, train.ema, is set; use one of them")
        return self


class Config(Section):
    """A whole experiment."""

    seed: Count = 0  # of all random choices
    data: DataConfig
    model: ModelConfig
    optim: OptimConfig = OptimConfig()
    train: TrainConfig

    @model_validator(mode="after")
    def early_stop_selects(self) -> Config:
        if self.train.early_stop and self.train.monitor == "last":
            raise ValueError("train.early_stop: selects an epoch on validation, and train.monitor: last does not")
        return self

    @model_validator(mode="after")
    def plateau_may_look_at_validation(self) -> Config:
        schedule, stop = self.optim.schedule, self.train.early_stop
        if isinstance(schedule, Plateau):
            if self.train.monitor == "last":
                raise ValueError(
                    "optim.schedule: plateau lets validation lower the rate, but with train.monitor: last validation "
                    "must not influence the network; use another monitor"
                )
            if stop and self.train.monitor == schedule.metric and stop.patience <= schedule.patience:
                raise ValueError(
                    f"train.early_stop.patience: {stop.patience} ends the run before a rate lowered after "
                    f"optim.schedule.patience: {schedule.patience} epochs could help; set it higher"
                )
        return self
