"""What a database keeps encrypted: opened by whom it is for, and by nobody else."""

import pytest

from spawners.common.cipher import CannotDecrypt, Cipher

NEW, OLD = b"n" * 32, b"o" * 32


def test_what_was_encrypted_is_opened_and_shows_nothing():
    cipher = Cipher([NEW], "launch")
    text = cipher.encrypt(b"a secret")
    assert cipher.decrypt(text) == b"a secret"
    assert "secret" not in text
    assert text.isascii()
    assert cipher.encrypt(b"a secret") != text


def test_a_new_secret_is_put_first_and_the_old_one_opens_what_is_left():
    left = Cipher([OLD], "launch").encrypt(b"x")
    both = Cipher([NEW, OLD], "launch")
    assert both.decrypt(left) == b"x"
    assert Cipher([NEW], "launch").decrypt(both.encrypt(b"y")) == b"y"


@pytest.mark.parametrize(
    "text",
    ["", "x", "gAAAAA", "\N{SNOWMAN}", Cipher([OLD], "launch").encrypt(b"x")],
    ids=["nothing", "letter", "start", "snowman", "another-key"],
)
def test_what_is_not_ours_is_refused(text):
    with pytest.raises(CannotDecrypt):
        Cipher([NEW], "launch").decrypt(text)


def test_what_was_changed_or_is_for_another_purpose_is_refused():
    text = Cipher([NEW], "launch").encrypt(b"x")
    middle = len(text) // 2
    changed = text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]
    for cipher, given in (
        (Cipher([NEW], "launch"), changed),
        (Cipher([NEW], "server token"), text),
    ):
        with pytest.raises(CannotDecrypt):
            cipher.decrypt(given)
