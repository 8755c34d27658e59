"""Read exported models back: folders that `uddm export` wrote, from an untrusted source."""

from pathlib import Path
from typing import Any

from typing_extensions import override

from uddm_lightning.interop.exported import ARCHITECTURE, FORMAT
from uddm_lightning.interop.foreign import ForeignConfig
from uddm_lightning.interop.hub_config import EMA_DECAY
from uddm_lightning.interop.hub_folder import CONFIG, StoredWeights, shown
from uddm_lightning.interop.hub_model import SHARED, HubModel, Kind

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
        stated: content of its `config.json`.

    Raises:
        InputError: as for `HubModel`.
    """

    stated: dict[str, Any]

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        step = self.stated.get("step")
        self.layout, self.step = "uddm_lightning export", step if type(step) is int and 0 <= step < 2**32 else None
        self.notes = [f"one set of weights, {shown(self.stated.get('weights'))}; it stands for both", NO_TEXT]

    @override
    def recipe(self, given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
        process, stated = self._section("process"), self.stated
        schedule = process.get("schedule") if isinstance(process.get("schedule"), dict) else {}
        assert isinstance(schedule, dict)
        law = {"class_path": self._one_of("process.schedule.class", schedule.get("class"), SCHEDULES)}
        t_min = self._number("t_min", stated.get("t_min", T_MIN))
        arguments: dict[str, Any] = {
            "schedule": {**law, "init_args": {"eps": self._number("process.schedule.eps", schedule.get("eps"))}}
        }
        if self.kind.process == "HybridProcess":
            arguments["p_uniform"] = self._number("process.p_uniform", process.get("p_uniform"))
        objective = OBJECTIVES[self._one_of("prediction", stated.get("prediction"), tuple(OBJECTIVES))]
        packing = self._one_of("packing", stated.get("packing", PACKINGS[0]), PACKINGS)
        special = stated.get("special_tokens")
        names = special if isinstance(special, dict) else {}
        roles = {role: names[role] for role in ROLES if isinstance(names.get(role), str)}
        words = {"path": str(tokenizer or "tokenizer.json"), **roles, "vocab_size": self.vocab_size}
        data = {
            "source": {"class_path": "TextFiles", "init_args": {"paths": "text.txt"}},
            "tokenizer": {"class_path": "PretrainedTokenizer", "init_args": words},
            "packing": {"class_path": packing, "init_args": {"length": self.length}},
        }
        name = stated.get("name")
        config = {
            "seed_everything": 0,
            "data": {section: value for section, value in data.items() if section not in given},
            "model": {
                "process": {"class_path": self.kind.process, "init_args": arguments},
                "backbone": {"class_path": "DiT", "init_args": self.architecture},
                "objective": {"class_path": objective, "init_args": {"t_min": t_min}},
                "sampler": {"class_path": "AncestralSampler"},
                "ema_decay": EMA_DECAY,
                "backbone_name": name if isinstance(name, str) and name.isprintable() and name else "exported",
            },
            "nelbo": {"t_min": t_min},
            "trainer": {"devices": 1, "max_steps": -1, "val_check_interval": 1, "enable_model_summary": False},
        }
        return ForeignConfig(config, list(self.supposed))

    @override
    def _kind(self, weights: StoredWeights) -> Kind:
        self.stated = self.config
        architecture = self._section("architecture")
        if architecture.get("class") != "DiT":
            raise self.refusal(f"its `{CONFIG}` says `architecture.class` = {shown(architecture.get('class'))}, no DiT")
        process = self._one_of("process.class", self._section("process").get("class"), PROCESSES)
        given = {SHARED.get(name, name): architecture.get(name) for name in ARCHITECTURE}
        # the keys of a folder of UDLM, which has the same network
        length, states = self.stated.get("length"), self.stated.get("states")
        self.config = self.folder.config = {**given, "model_length": length, "vocab_size": states, "dropout": 0.0}
        return Kind("export", "", SHARED, process)

    @override
    def _find_mask(self, states: int, about: dict[str, Any]) -> None:
        """Take the last id as the mask; the tokenizer was written without it."""
        self.mask_id = states - 1

    def _section(self, name: str) -> dict[str, Any]:
        section = self.stated.get(name)
        if not isinstance(section, dict):
            raise self.refusal(f"its `{CONFIG}` has no section `{name}`")
        return section

    def _one_of(self, key: str, value: Any, known: tuple[str, ...]) -> str:
        if value not in known:
            raise self.refusal(f"its `{CONFIG}` says `{key}` = {shown(value)}, and only {', '.join(known)} are known")
        return str(value)

    def _number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refusal(f"its `{CONFIG}` says `{key}` = {shown(value)}, and a number is needed")
        return float(value)
