//! Makes canonical bytes of JSON, in one pass.
//!
//! It takes what RFC 8259 takes, and what a parser elsewhere might take otherwise is not read at all: names that stand
//! twice in an object, half surrogates, bytes that are no UTF-8. It is written by hand because serde's parsers tell
//! numbers only as what fits into a machine's types.

use std::ops::Range;

use super::{
    canonical::{FALSE, HEAD, LIST, NULL, NUMBER, OBJECT, TEXT, TRUE},
    number,
};

/// How deep lists and objects may stand in one another. Schemas of tools come to about thirty.
pub(super) const DEEPEST: usize = 64;

/// How often members are put in order within one another, as a mean over all bytes: each time moves them. More would cost
/// more than reading them, and is nothing that anybody writes but to cost that.
pub(super) const MOVES: usize = 16;

/// The canonical form of a JSON text; nothing, if it is none or not a clear one.
pub(super) fn read(json: &[u8]) -> Option<Vec<u8>> {
    let out = Vec::with_capacity(json.len() + json.len() / 4);
    let rest = std::str::from_utf8(json).ok()?.as_bytes();
    let mut reader = Reader { rest, out, open: Vec::new(), spare: Vec::new(), moved: 0 };
    reader.value(0)?;
    reader.space();
    reader.rest.is_empty().then_some(reader.out)
}

struct Reader<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
    /// The members of all objects that are not closed yet.
    open: Vec<Member>,
    /// Where members are put in order.
    spare: Vec<u8>,
    /// How many bytes were moved for it so far.
    moved: usize,
}

/// Where a member stands in the output.
struct Member {
    name: Range<usize>,
    end: usize,
}

impl Member {
    fn whole(&self) -> Range<usize> {
        self.name.start - HEAD..self.end
    }
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        self.space();
        match self.rest.first()? {
            b'"' => self.text().map(drop),
            b'{' => self.object(depth + 1),
            b'[' => self.list(depth + 1),
            b'n' => self.word("null", NULL),
            b't' => self.word("true", TRUE),
            b'f' => self.word("false", FALSE),
            _ => self.number(),
        }
    }

    fn space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Steps over `count` bytes, and gives them.
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// Steps over the next byte that is no space, and gives it.
    fn sign(&mut self) -> Option<u8> {
        self.space();
        self.byte()
    }

    fn begin(&mut self, kind: u8) -> usize {
        self.out.extend_from_slice(&[kind, 0, 0, 0, 0]);
        self.out.len()
    }

    fn end(&mut self, start: usize) -> Option<()> {
        let length = u32::try_from(self.out.len() - start).ok()?;
        self.out[start - size_of::<u32>()..start].copy_from_slice(&length.to_le_bytes());
        Some(())
    }

    fn word(&mut self, word: &str, kind: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(word.as_bytes())?;
        self.begin(kind);
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let is_part = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.rest.iter().take_while(|b| is_part(**b)).count();
        let digits = self.take(length)?;
        let start = self.begin(NUMBER);
        number::append(digits, &mut self.out)?;
        self.end(start)
    }

    /// Reads a text; tells where its content stands in the output.
    fn text(&mut self) -> Option<Range<usize>> {
        self.rest = self.rest.strip_prefix(b"\"")?;
        let start = self.begin(TEXT);
        loop {
            let plain = self.take(plain(self.rest))?;
            self.out.extend_from_slice(plain);
            match self.byte()? {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
        self.end(start)?;
        Some(start..self.out.len())
    }

    fn escape(&mut self) -> Option<()> {
        let meant = match self.byte()? {
            b'b' => b'\x08',
            b'f' => b'\x0c',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            itself @ (b'"' | b'\\' | b'/') => itself,
            b'u' => {
                let meant = self.code_point()?;
                self.out.extend_from_slice(meant.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        self.out.push(meant);
        Some(())
    }

    fn code_point(&mut self) -> Option<char> {
        let first = self.code_unit()?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first.into());
        }
        self.rest = self.rest.strip_prefix(b"\\u")?;
        char::decode_utf16([first, self.code_unit()?]).next()?.ok()
    }

    fn code_unit(&mut self) -> Option<u16> {
        self.take(4)?
            .iter()
            .try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
    }

    fn list(&mut self, depth: usize) -> Option<()> {
        let start = self.begin(LIST);
        self.row(b']', depth, |reader| reader.value(depth))?;
        self.end(start)
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        let (start, first) = (self.begin(OBJECT), self.open.len());
        self.row(b'}', depth, |reader| reader.member(depth))?;
        self.put_in_order(start, first)?;
        self.open.truncate(first);
        self.end(start)
    }

    fn member(&mut self, depth: usize) -> Option<()> {
        self.space();
        let name = self.text()?;
        (self.sign()? == b':').then_some(())?;
        self.value(depth)?;
        self.open.push(Member { name, end: self.out.len() });
        Some(())
    }

    /// What stands between two brackets, with commas between.
    fn row(&mut self, last: u8, depth: usize, one: impl Fn(&mut Self) -> Option<()>) -> Option<()> {
        self.take(1).filter(|_| depth <= DEEPEST)?;
        self.space();
        if self.rest.first() == Some(&last) {
            return self.byte().map(drop);
        }
        loop {
            one(self)?;
            match self.sign()? {
                b',' => {}
                sign => return (sign == last).then_some(()),
            }
        }
    }

    /// Sorts the members that were opened last, whose output begins at `start`; nothing, if two have one name.
    fn put_in_order(&mut self, start: usize, first: usize) -> Option<()> {
        let Self { out, open, spare, .. } = self;
        let (members, name) = (&mut open[first..], |member: &Member| &out[member.name.clone()]);
        if members.is_sorted_by(|one, next| name(one) < name(next)) {
            return Some(());
        }
        members.sort_unstable_by(|one, other| name(one).cmp(name(other)));
        let is_clear = members.windows(2).all(|pair| name(&pair[0]) != name(&pair[1]));
        self.moved += out.len() - start;
        (is_clear && self.moved <= MOVES * out.len()).then_some(())?;
        spare.clear();
        members.iter().for_each(|member| spare.extend_from_slice(&out[member.whole()]));
        out[start..].copy_from_slice(spare);
        Some(())
    }
}

/// How many bytes stand before the next one that means something in a text: eight are looked at in one go.
fn plain(text: &[u8]) -> usize {
    let (words, tail) = text.as_chunks();
    for (i, word) in words.iter().enumerate() {
        match means(u64::from_le_bytes(*word)) {
            0 => {}
            found => return 8 * i + found.trailing_zeros() as usize / 8,
        }
    }
    let means = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    8 * words.len() + tail.iter().position(means).unwrap_or(tail.len())
}

/// The lowest bit that is set lies in the first byte that is a control character, a quote or a backslash.
fn means(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, b' ') | is(b'"') | is(b'\\')) & (ONES << 7)
}
