"""The loss of the first batch is compared with the model's own as closely as it is computed."""

import pytest
import torch

from mubench_hf.errors import BadInput
from mubench_hf.trainers import get_method


class Rounding(torch.nn.Module):
    """A head whose answers differ from call to call as those of two passes in 16 bits may on a GPU."""

    def __init__(self, head, by):
        super().__init__()
        self.head, self.by, self.calls = head, by, 0

    def forward(self, features):
        self.calls += 1
        shift = torch.zeros(self.head.out_features).index_fill_(0, torch.tensor([0]), self.by * (self.calls % 2))
        return self.head(features) + shift


@pytest.mark.parametrize(
    ("by", "bf16", "refused"), [(0.01, True, False), (0.01, False, True), (3.0, True, True)], ids=str
)
def test_two_passes_in_16_bits_need_not_round_alike(by, bf16, refused, world, make):
    trainer = make(get_method("finetune"), world, bf16=bf16, max_steps=1)
    trainer.model.classifier = Rounding(trainer.model.classifier, by)
    if refused:
        with pytest.raises(BadInput, match="its own loss there is"):
            trainer.train()
    else:
        trainer.train()
