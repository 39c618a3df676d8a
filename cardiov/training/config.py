"""What decides a training run, and when two runs are the same."""

from dataclasses import asdict, dataclass, field

from cardiov import mapping
from cardiov.errors import ParameterError
from cardiov.objectives import OBJECTIVES

# Raised by hand when the same configuration and data would give other numbers; tests/training/test_version.py shows when.
VERSION = 1
CONTRAST = "contrast"  # a task without labels: which two stretches are of one record?
STATEMENTS = "statements"  # the auxiliary task: which of the 71 statements does the record have?
# fields that the auxiliary task does not depend on
AFTER_STATEMENTS = ("objective", "label_rule", "statements_weight", "teacher_weight", "teachers", "pretrain_epochs",
                    "finetune_epochs", "finetune_rate", "windows")  # fmt: skip


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run besides data and code; every departure from the paper is a field here."""

    objective: str = "ordinal"  # or another of `cardiov.objectives.OBJECTIVES`
    seed: int = 0  # of the initial weights, the order of the records, dropout and augmentation
    label_rule: str = "most-likely"  # or "highest-risk", see `cardiov.mapping.critical_value`
    train_share: float = 1.0  # of the training patients, drawn by the seed; a smaller share is part of a larger one
    final_fit: bool = False  # the validation records train, too; then nothing is chosen, and the last epoch is kept
    contrast_epochs: int = 0  # of telling records apart, without labels, before everything else
    statements_epochs: int = 0  # of the 71 statements, before the objective
    likelihoods: bool = False  # a statement's target is its likelihood, where one was given, instead of 1
    statements_weight: float = 0.0  # of their loss beside the objective's, in the steps after them; 0 for none
    teacher_weight: float = 0.0  # share of a teacher's probabilities in what the ordinal step learns; the rest is the label
    teachers: list = field(default_factory=list)  # runs that teach beside boosting, see `cardiov.experiments.runs.read_teacher`
    pretrain_epochs: int = 10  # of cross-entropy, before the ordinal loss
    finetune_epochs: int = 12  # of the ordinal loss; the other objectives get both numbers added
    batch_size: int = 256  # records of an optimiser step, over all processes
    micro_batch: int = 32  # records at once, at most; gradients are accumulated up to batch_size
    sync_batch_norm: bool = False  # batch norm sees the micro-batches of all processes, instead of one; needs GPUs
    learning_rate: float = 1e-3
    finetune_rate: float = 0.0  # learning rate of the last step; 0 for the same
    weight_decay: float = 1e-3  # of Adam, as in the authors' code; the paper says "weight normalization"
    schedule: str = "plateau"  # or "one-cycle"
    plateau_factor: float = 0.3
    plateau_patience: int = 2  # epochs without a better validation loss; the paper gives no number
    precision: str = "32-true"  # Fabric's names; "auto": bf16-mixed on a device that multiplies bfloat16, else 32-true
    crop: float = 0.0  # seconds of each record, at a random place, that a training step sees; 0 for all
    augment: dict = field(default_factory=dict)  # amounts of `cardiov.training.augmentation.AUGMENTATIONS`
    average: float = 0.0  # decay per step of the moving average of the weights, which is then what is kept; 0 for none
    settle: int = 0  # training records that batch norm's statistics are estimated from after each epoch; 0 for none
    windows: int = 1  # stretches of the crop's length, evenly spread, over which a prediction is averaged; 1: the record
    model: dict = field(default_factory=dict)  # fields of CardioVConfig other than outputs, or a backbone and its fields

    def __post_init__(self):
        choices = {"objective": OBJECTIVES, "schedule": ("plateau", "one-cycle"), "label_rule": mapping.RULES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ParameterError(f"there is no {name} {getattr(self, name)!r}: choose among {', '.join(known)}.")
        if self.final_fit and self.schedule == "plateau":
            raise ParameterError("a final fit has no validation loss, which the plateau schedule sees: take one-cycle.")
        if self.contrast_epochs and not self.crop:
            raise ParameterError("records are told apart by two stretches of each: set crop above 0, or contrast_epochs to 0.")
        if (self.statements_weight or self.likelihoods) and not self.statements_epochs:
            raise ParameterError("a run keeps or weighs statements, which it does not learn first: set statements_epochs above 0.")
        if self.teacher_weight and self.objective != "ordinal":
            raise ParameterError("a teacher's probabilities are for the ordinal objective: take that, or teacher_weight 0.")

    @property
    def phases(self):
        """Training steps as (objective, epochs), in order."""
        steps = [(CONTRAST, self.contrast_epochs), (STATEMENTS, self.statements_epochs)]
        if self.objective == "ordinal":
            steps += [("classification", self.pretrain_epochs), ("ordinal", self.finetune_epochs)]
        else:
            steps += [(self.objective, self.pretrain_epochs + self.finetune_epochs)]
        return [step for step in steps if step[1]]


def statements_settings(config: TrainingConfig) -> dict:
    """The fields that decide the auxiliary task; runs that have the same, and the same data, share its weights."""
    settings = {name: value for name, value in asdict(config).items() if name not in AFTER_STATEMENTS}
    # newer fields: weights that were stored before them keep their names
    for name in ("sync_batch_norm", "final_fit", "contrast_epochs", "likelihoods"):
        if not settings[name]:
            del settings[name]
    return settings


def same_run(stored: dict, identity: dict) -> bool:
    """Whether a stored identity is that of this run."""
    return completed(stored) == completed(identity)


def completed(identity: dict) -> dict:
    """An identity with what it lacks: a field that is newer than it has its default, and the first had no version."""
    known = {name: value for name, value in identity.items() if name != "code"}  # a digest, in the first
    return {"version": 1, **known, "config": asdict(TrainingConfig()) | identity.get("config", {})}
