"""Writes a program that prints 16 random bytes a second, in the one language that Debian's smallest image has."""

PROGRAM = """\
$| = 1;
open(my $source, "<:raw", "/dev/urandom") or die $!;
while (1) {
    # Not read(), which takes 8 KiB ahead: those would be in the snapshot, and the same in every microVM.
    sysread($source, my $bytes, BYTES) == BYTES or die $!;
    print unpack("H*", $bytes), "\\n";
    sleep 1;
}
"""

print(PROGRAM.replace("BYTES", "16"), end="")
