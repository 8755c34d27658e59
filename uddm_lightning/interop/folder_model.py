"""Models in folders in the hub's layout: their weights by the names of our networks, and their mask token."""

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones import Backbone
from uddm_lightning.interop.foreign import ForeignModel
from uddm_lightning.interop.hub_config import ONE_SET_OF_WEIGHTS
from uddm_lightning.interop.hub_folder import TOKENIZER, TOKENIZER_CONFIG, HubFolder
from uddm_lightning.interop.hub_settings import HubSettings
from uddm_lightning.interop.hub_tokenizer import take_out_mask


class NetworkWeights(Mapping[str, Tensor]):
    """Weights by the parameter names of our network. A weight is read from its file when it is asked for.

    Args:
        stored: the weights by the names of the folder.
        names: names in the folder by parameter names.
        tables: parameters with one row for each id.
        ids: ids of the folder in the order of their rows here; None keeps all rows as they are.
    """

    def __init__(
        self, stored: Mapping[str, Tensor], names: dict[str, str], tables: Collection[str], ids: list[int] | None
    ) -> None:
        self.stored, self.names, self.tables, self.ids = stored, names, tables, ids

    @override
    def __getitem__(self, name: str) -> Tensor:
        weight = self.stored[self.names[name]]
        return weight if self.ids is None or name not in self.tables else weight[self.ids]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @override
    def __len__(self) -> int:
        return len(self.names)


class FolderModel(ForeignModel):
    """Base class of models in folders in the hub's layout.

    Args:
        path: the folder.

    Attributes:
        tables: parameters with one row for each id.
        folder: the folder, whose files were checked.
        settings: settings in its `config.json`; `auto_map` and the code that it names are not used.
        architecture: arguments of our network.
        mask_id: id of the mask token in the folder; None without one.
        has_mask: whether our network has the mask token, as its last id.

    Raises:
        InputError: a file is missing or damaged.
    """

    tables: tuple[str, ...]
    architecture: dict[str, Any]
    has_mask: bool

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = HubFolder(path)
        self.files = self.folder.files
        self.settings = HubSettings(self.folder.config, self.refusal)
        self.step, self.ema_decay, self.left_out = None, None, []
        self.tokenizer, self.notes = self.folder.text(TOKENIZER), [ONE_SET_OF_WEIGHTS]
        self.mask_id: int | None = None

    @property
    @override
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.shapes_of(lambda: self.network(self.vocab_size + self.has_mask))

    @abstractmethod
    def network(self, ids: int) -> Backbone:
        """Return our network for a number of ids, with the architecture of the folder."""

    @abstractmethod
    def stored_name(self, name: str) -> str:
        """Return the name in the folder of a parameter of our network."""

    def check_shapes(self, ids: int, buffers: Collection[str] = ()) -> list[str]:
        """Compare names and shapes of the weights with those of our network; return its parameter names.

        Args:
            ids: number of ids in the folder.
            buffers: names in the folder that are not compared.
        """
        weights, blocks = self.folder.weights, self.architecture["n_blocks"]
        if blocks > len(weights):  # before a network of that many blocks is made
            raise self.refusal(f"its `config.json` says {blocks} blocks for {len(weights)} tensors")
        needed = self.shapes_of(lambda: self.network(ids))
        found = {name: entry.shape for name, entry in weights.entries.items() if name not in buffers}
        self.compare_shapes(found, {self.stored_name(name): shape for name, shape in needed.items()})
        return list(needed)

    def take_out_mask(self, ids: int, usual: int) -> bool:
        """Find the mask token and take it out of the tokenizer; return whether the tokenizer names it.

        Args:
            ids: number of ids in the folder.
            usual: id of the mask token where no tokenizer names it.
        """
        about = self.folder.read_json(TOKENIZER_CONFIG)
        found = take_out_mask(self.folder, self.tokenizer, about, usual)
        self.mask_id, self.tokenizer = found.mask_id, found.tokenizer
        if self.mask_id is None or not 0 <= self.mask_id < ids:
            raise self.refusal(f"the mask token is id {self.mask_id}, and its network has {ids} ids")
        return found.is_named

    def network_weights(self, names: Collection[str], ids: int) -> NetworkWeights:
        """Return the weights of our network; the row of the mask token is the last one, or left out.

        Args:
            names: its parameter names.
            ids: number of ids in the folder.
        """
        order = None
        if self.mask_id is not None:
            order = [one for one in range(ids) if one != self.mask_id] + self.has_mask * [self.mask_id]
        return NetworkWeights(self.folder.weights, {name: self.stored_name(name) for name in names}, self.tables, order)
