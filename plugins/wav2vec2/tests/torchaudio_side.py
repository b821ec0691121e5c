"""What torchaudio says of a model of transformers, with the same weights."""

import torch
from torchaudio.models.wav2vec2.utils import import_huggingface_model


def plain(name):
    """Hugging Face's name with the older keys of weight norm."""
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v")


def answers(model, rows, lengths, targets):
    """torchaudio's model; its logits, steps and summed CTC loss of a padded batch; gradients by Hugging Face's names."""
    other = import_huggingface_model(model).eval()
    other.zero_grad()
    logits, steps = other(rows, torch.as_tensor(lengths))
    flat = torch.tensor([symbol for target in targets for symbol in target])
    loss = torch.nn.functional.ctc_loss(
        torch.log_softmax(logits, -1).transpose(0, 1), flat, steps, torch.tensor([len(target) for target in targets]),
        blank=model.config.pad_token_id, reduction="sum", zero_infinity=True)
    loss.backward()
    gradients = {}
    for name, parameter in other.named_parameters():
        ours = name.replace("encoder.transformer.", "encoder.").replace("encoder.feature_projection", "feature_projection")
        ours = plain(ours.replace("aux.", "lm_head.") if ours.startswith("aux.") else f"wav2vec2.{ours}")
        gradients[ours] = parameter.grad
    return other, logits.detach(), steps, loss.detach(), gradients


def furthest(ours, theirs):
    """Largest difference of two sets of gradients, relative to each tensor's largest entry.

    Far below the largest of all there may be only rounding around an exact zero, such as that of a key's bias.
    """
    largest = max(tensor.abs().max().item() for tensor in theirs.values())
    errors = {
        name: ((gradient - theirs[name]).abs().max() / max(theirs[name].abs().max().item(), 1e-2 * largest)).item()
        for name, gradient in ours.items()
    }
    return max(errors.items(), key=lambda one: one[1])
