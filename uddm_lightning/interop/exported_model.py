"""Read exported models back: folders that `uddm export` wrote, from an untrusted source."""

from pathlib import Path
from typing import Any

from typing_extensions import override

from uddm_lightning.interop.exported import ARCHITECTURE, FORMAT
from uddm_lightning.interop.foreign import ForeignConfig
from uddm_lightning.interop.hub_config import measured_config
from uddm_lightning.interop.hub_folder import shown
from uddm_lightning.interop.hub_model import SHARED, HubModel, Kind
from uddm_lightning.interop.hub_settings import HubSettings

# Classes that a file may name; no other is imported. Objectives stand by what their network predicts.
PROCESSES = ("UniformProcess", "AbsorbingProcess", "HybridProcess")
SCHEDULES = ("LogLinearSchedule", "CosineSchedule")
PACKINGS = ("WrappedPacking", "DocumentPacking")
OBJECTIVES = {"leave-one-out": "NELBO", "posterior": "DenoisingCrossEntropy", "reweighted": "ReweightedNELBO"}
T_MIN = 1e-3  # of the objectives, where a file does not state it
ROLES = ("bos", "eos", "separator", "pad")
NO_TEXT = "the rows that it was trained on are not in the folder; `uddm validate` needs a text, `-c FILE`"


def is_exported(config: dict[str, Any]) -> bool:
    """Return whether a `config.json` was written by `uddm export`."""
    return config.get("format") == FORMAT and isinstance(config.get("architecture"), dict)


class ExportedModel(HubModel):
    """A folder that `uddm export` wrote.

    Args:
        path: the folder.

    Attributes:
        stated: settings in its `config.json`; `settings` has those of the network by the keys of UDLM.

    Raises:
        InputError: as for `HubModel`.
    """

    stated: HubSettings

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        step = self.stated.value("step")
        self.layout, self.step = "uddm_lightning export", step if type(step) is int and 0 <= step < 2**32 else None
        self.notes = [f"one set of weights, {shown(self.stated.value('weights'))}; it stands for both", NO_TEXT]

    @override
    def recipe(self, given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
        stated = self.stated
        law = stated.choice("process.schedule.class", SCHEDULES)
        schedule = {"class_path": law, "init_args": {"eps": stated.number("process.schedule.eps")}}
        arguments: dict[str, Any] = {"schedule": schedule}
        if self.kind.process == "HybridProcess":
            arguments["p_uniform"] = stated.number("process.p_uniform")
        objective, t_min = OBJECTIVES[stated.choice("prediction", OBJECTIVES)], stated.number("t_min", T_MIN)
        special = stated.content.get("special_tokens")
        names = special if isinstance(special, dict) else {}
        roles = {role: names[role] for role in ROLES if isinstance(names.get(role), str)}
        words = {"path": str(tokenizer or "tokenizer.json"), **roles, "vocab_size": self.vocab_size}
        packing = stated.choice("packing", PACKINGS, PACKINGS[0])
        data = {
            "source": {"class_path": "TextFiles", "init_args": {"paths": "text.txt"}},
            "tokenizer": {"class_path": "PretrainedTokenizer", "init_args": words},
            "packing": {"class_path": packing, "init_args": {"length": self.length}},
        }
        name = stated.content.get("name")
        model = {
            "process": {"class_path": self.kind.process, "init_args": arguments},
            "backbone": {"class_path": "DiT", "init_args": self.architecture},
            "objective": {"class_path": objective, "init_args": {"t_min": t_min}},
            "sampler": {"class_path": "AncestralSampler"},
            "backbone_name": name if isinstance(name, str) and name.isprintable() and name else "exported",
        }
        data = {section: value for section, value in data.items() if section not in given}
        return ForeignConfig(measured_config(data, model, t_min), [*self.settings.assumed, *stated.assumed])

    @override
    def _kind(self) -> Kind:
        self.stated = stated = self.settings
        stated.choice("architecture.class", ("DiT",))
        process = stated.choice("process.class", PROCESSES)
        # the keys of a folder of UDLM, which has the same network
        network = {SHARED.get(name, name): stated.value(f"architecture.{name}") for name in ARCHITECTURE}
        sizes = {"model_length": stated.value("length"), "vocab_size": stated.value("states"), "dropout": 0.0}
        self.folder.config = {**network, **sizes}
        self.settings = HubSettings(self.folder.config, self.refusal)
        return Kind("export", "", SHARED, process)

    @override
    def _find_mask(self, ids: int) -> None:
        """Take the last id as the mask; the tokenizer was written without it."""
        self.mask_id = ids - 1
