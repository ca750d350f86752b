"""What looks like a secret, by its name or by its text, and how a text is shown without it."""

import re

HIDDEN = "(hidden)"
UNREADABLE = "(unreadable)"
"""Stands for a value whose own text cannot be made."""

_NAME = re.compile(
    r"(?<!eos_)(?<!bos_)(?<!pad_)(?<!unk_)(?<!mask_)(?<!sep_)(?<!cls_)(?<!image_)token$"
    r"|secret|password|passwd|passphrase|credential|(?:^|[_-])(?:pwd|pat)$"
    r"|(?:api|access|private|auth|encryption|ssh|account|storage|signing)[_-]?key"
    r"|(?:wandb|comet|hf|huggingface|neptune|mlflow|swanlab|clearml|openai|anthropic|aws|azure|gcp|s3)[_-]key$"
    r"|authorization|bearer|cookie",
    re.IGNORECASE,
)
_TEXT = re.compile(
    r"(?<=://)[^/@\s:]*:[^/@\s]+(?=@)"  # the user and password of a URL
    r"|\b(?:hf|gh[opsur]|github_pat|glpat|sk|xox[abprs]|npm|pypi|r8)[-_][A-Za-z0-9_-]{16,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{30,}"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=token=)[^&\s'\"]+|(?<=password=)[^&\s'\"]+|(?<=api_key=)[^&\s'\"]+|(?<=secret=)[^&\s'\"]+"
)
_FLAG = re.compile(r"--?(?P<name>[A-Za-z][\w-]*)(?P<given>=.*)?", re.DOTALL)


def text_of(value: object) -> str:
    """The text of any value, encodable; bytes are decoded, and a value that has none is `(unreadable)`."""
    try:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value)
    except Exception:  # noqa: BLE001 - the user's own __str__ may raise anything
        return UNREADABLE
    return text.encode("utf-8", "replace").decode()


def shown(text: str) -> str:
    """`text` with what looks like a secret hidden."""
    return _TEXT.sub(HIDDEN, text)


def names_secret(name: object) -> bool:
    """Whether a key such as `hub_token` says that its value is a secret."""
    return _NAME.search(text_of(name)) is not None


def without_flags(words: list[object]) -> list[object]:
    """An argument list with what follows `--hub-token`, or stands behind `--hub-token=`, hidden."""
    kept: list[object] = []
    hide_next = False
    for word in words:
        flag = _FLAG.fullmatch(word) if isinstance(word, str) else None
        secret = flag is not None and names_secret(flag["name"])
        if hide_next and flag is None:
            kept.append(HIDDEN)
        elif secret and flag is not None and flag["given"]:
            kept.append(f"{str(word).partition('=')[0]}={HIDDEN}")
        else:
            kept.append(word)
        hide_next = secret and flag is not None and not flag["given"]
    return kept
