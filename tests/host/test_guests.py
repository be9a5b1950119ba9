# SPDX-License-Identifier: BSD-2-Clause
"""Guest files become names and module lines."""

from support import HostTest

from neaplib.errors import NeapError
from neaplib.guests import modules_of, name_guests, parse_guest
from neaplib.iso import grub_quote
from neaplib.sizes import format_size, parse_size


def through_grub(script):
    """What GRUB's multiboot2 makes of script words in single quotes: the words, with backslashes,
    joined by spaces. (A word with a space would come in double quotes: there must be none.)"""
    words, word, quoted, escaped = [], None, False, False
    for char in script:
        if escaped:
            word, escaped = word + char, False
        elif char == "'":
            quoted, word = not quoted, word or ""
        elif quoted:
            word += char
        elif char == "\\":
            escaped, word = True, word or ""
        elif char == " ":
            words.append(word)
            word = None
    if word is not None:
        words.append(word)
    assert not any(" " in word for word in words)
    return " ".join("".join("\\" + c if c in "\\'\"" else c for c in word) for word in words)


def as_neap_reads(text):
    """A backslash before a backslash or a quote goes away."""
    out, escaped = "", False
    for char in text:
        if char == "\\" and not escaped:
            escaped = True
        else:
            out, escaped = out + char, False
    return out


class NamesTest(HostTest):
    def names(self, *texts):
        guests = [parse_guest(text) for text in texts]
        name_guests(guests)
        return [guest.name for guest in guests]

    def test_name_is_the_stem_then_numbered(self):
        one, two = self.file("Hello.elf"), self.file("sub/Hello.bin")
        self.assertEqual(self.names(str(one), str(one), str(two)), ["Hello", "Hello-2", "Hello-3"])

    def test_given_names_are_not_taken_twice(self):
        file = self.file("a.elf")
        self.assertEqual(self.names(str(file), f"{file},vm=a-2", str(file)), ["a", "a-2", "a-3"])

    def test_odd_characters_become_dashes(self):
        self.assertEqual(self.names(str(self.file("my guest+ü.elf"))), ["my-guest--"])

    def test_long_names_are_cut(self):
        file = self.file("x" * 40)
        self.assertEqual(self.names(str(file), str(file)), ["x" * 31, "x" * 29 + "-2"])

    def test_versioned_linux_keeps_its_dots(self):
        self.assertEqual(self.names(str(self.file("vmlinuz-6.1.0-18"))), ["vmlinuz-6.1"])


class ModulesTest(HostTest):
    def lines(self, *guests):
        name_guests(guests)
        return [(module.iso_path, module.source, module.line) for module in modules_of(guests)]

    def test_one_guest(self):
        guest = parse_guest(f"{self.kernel},mem=32M,shade=blue")
        guest.append = "root=/dev/vda -- quiet"
        self.assertEqual(self.lines(guest), [
            ("boot/guest1", self.kernel,
             "vm=kernel mem=32M shade=blue -- root=/dev/vda -- quiet")])

    def test_one_file_for_several_guests_is_carried_once(self):
        link = self.dir / "link.elf"
        link.symlink_to(self.kernel)
        guests = [parse_guest(f"{self.kernel},vm=first"), parse_guest(f"{link},mem=8M"),
                  parse_guest(str(self.kernel))]
        self.assertEqual(self.lines(*guests), [
            ("boot/guest1", self.kernel, "vm=first"),
            ("boot/guest2", None, "vm=link image=first mem=8M"),
            ("boot/guest3", None, "vm=kernel image=first")])

    def test_initrd_follows_its_guest(self):
        guest = parse_guest(str(self.kernel))
        guest.initrd = self.file("initrd.img")
        self.assertEqual(self.lines(guest)[1], ("boot/initrd1", guest.initrd, "initrd=kernel -- initrd.img"))


    def test_disk_follows_its_guest_and_is_each_guest_s_own(self):
        guests = [parse_guest(str(self.kernel)), parse_guest(str(self.kernel))]
        for guest in guests:
            guest.disk_image = self.file("root.img")
        guests[1].initrd = self.file("initrd.img")
        self.assertEqual(self.lines(*guests), [
            ("boot/guest1", self.kernel, "vm=kernel"),
            ("boot/disk1", self.dir / "root.img", "disk=kernel"),
            ("boot/guest2", None, "vm=kernel-2 image=kernel"),
            ("boot/initrd2", self.dir / "initrd.img", "initrd=kernel-2 -- initrd.img"),
            ("boot/disk2", self.dir / "root.img", "disk=kernel-2")])

    def test_a_partition_is_a_key_as_others(self):
        guid = "0a9d5c3e-7e51-4b6f-9a37-4e6561705357"
        self.assertEqual(self.lines(parse_guest(f"{self.kernel},part={guid}:rw"))[0][2],
                         f"vm=kernel part={guid}:rw")


class BadGuestTest(HostTest):
    def refused(self, text):
        with self.assertRaises(NeapError) as caught:
            parse_guest(text)
        self.assertEqual(caught.exception.status, 2)
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def test_files(self):
        self.assertIn("no such file", self.refused("/nowhere/a.elf"))
        self.assertIn("no such file", self.refused(""))
        self.assertIn("not a file", self.refused(str(self.dir)))
        self.assertIn("empty", self.refused(str(self.file("empty", b""))))

    def test_words(self):
        for word in ("mem", "", "=1", "a b=1", "mem=", "mem=1 2", "mem='1'", 'mem="1"',
                     "mem=1\\", "mem=1\n", "mem=\x7f", "mem=ü"):
            self.refused(f"{self.kernel},{word}")

    def test_keys(self):
        self.assertIn("--initrd", self.refused(f"{self.kernel},initrd=x"))
        self.assertIn("--guest-disk", self.refused(f"{self.kernel},disk=x"))
        self.assertIn("Neap's own", self.refused(f"{self.kernel},image=x"))
        self.assertIn("twice", self.refused(f"{self.kernel},mem=1M,mem=2M"))
        self.assertIn("twice", self.refused(f"{self.kernel},vm=a,vm=b"))
        self.assertIn("a name is", self.refused(f"{self.kernel},vm=a/b"))
        self.assertIn("a name is", self.refused(f"{self.kernel},vm={'x' * 32}"))


class QuotingTest(HostTest):
    def test_text_arrives_unchanged(self):
        for text in ("", "a", "a b", "two  spaces", " led", "trailed ", "it's", "''", 'say "x y"',
                     "back\\slash \\' \\\\", "$root ${x} `x` ; # { } | & < > * ? /boot/*", "ü é",
                     "a -- b"):
            self.assertEqual(as_neap_reads(through_grub(grub_quote(text))), text)


class SizesTest(HostTest):
    def test_sizes(self):
        for text, size in (("4096", 4096), ("64M", 64 << 20), ("64m", 64 << 20), ("1G", 1 << 30),
                           ("3K", 3072)):
            self.assertEqual(parse_size(text, "--ram"), size)
        self.assertEqual([format_size(n) for n in (1 << 30, 65 << 20, 1024, 1000)],
                         ["1G", "65M", "1K", "1000"])

    def test_bad_sizes(self):
        for text in ("", "12Q", "M", "-1M", "1.5G", "0", "0M", "64MB", "9999999999G", "1 M", "٣M"):
            with self.assertRaises(NeapError, msg=text):
                parse_size(text, "--ram")
