//! A pickle of tensors, read without running any of it: an interpreter of the instructions that `torch.save` writes
//! (Python's `pickletools` documents them) which knows dictionaries, tuples, numbers, texts, and three constructors:
//! `OrderedDict`, `torch._utils._rebuild_tensor_v2` and `_rebuild_parameter`. Any other name is refused.
//!
//! Values are small and copied; tuples and dictionaries lie in arenas and are named by their index, so that neither deep
//! nesting nor a dictionary inside itself costs more than the bytes that describe it.

#[cfg(test)]
mod tests;

use safetensors::Dtype;
use std::collections::BTreeMap;

/// Most tensors, and values on the way to them.
const MAX_VISITS: usize = 1 << 20;
/// Dictionaries inside each other.
const MAX_DEPTH: usize = 64;
/// Bytes of a tensor's name.
const MAX_NAME: usize = 1024;

type Result<T> = std::result::Result<T, String>;

/// A tensor as the pickle describes it: a view of a storage.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Name of the storage.
    pub(super) key: String,
    /// Type and number of its elements.
    pub(super) dtype: Dtype,
    pub(super) elements: u64,
    /// The view's first element, and its shape and steps in elements.
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Int(i64),
    Text(&'a str),
    /// Items from..to of the arena.
    Tuple(usize, usize),
    Map(usize),
    Callable(Callable),
    Storage(usize),
    Tensor(usize),
    /// None, truth values, floats: nothing that a tensor needs.
    Other,
}

#[derive(Clone, Copy, Debug)]
enum Callable {
    OrderedDict,
    Tensor,
    Parameter,
    Storage(Dtype),
    /// A module of TorchScript: its attributes are a dictionary.
    Module,
}

/// A dictionary, a list, or the attributes of a module.
#[derive(Default)]
struct Map<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    is_module: bool,
    /// The dictionary that a module's attributes are.
    state: Option<usize>,
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value<'a>>,
    items: Vec<Value<'a>>,
    maps: Vec<Map<'a>>,
    storages: Vec<(Dtype, &'a str, u64)>,
    tensors: Vec<View>,
}

/// The tensors in `pickle` by name; the names of dictionaries inside dictionaries are joined by dots. Of a training
/// checkpoint, those of its `state_dict`.
///
/// # Errors
/// It holds something else than dictionaries of tensors and plain values, or is damaged.
pub(super) fn tensors(pickle: &[u8]) -> Result<Vec<(String, View)>> {
    let mut machine = machine(pickle);
    while machine.step()? {}
    match machine.pop()? {
        Value::Map(top) => machine.flatten(top),
        _ => Err("it holds no dictionary of tensors".into()),
    }
}

fn machine(pickle: &[u8]) -> Machine<'_> {
    Machine {
        rest: pickle,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
        items: Vec::new(),
        maps: Vec::new(),
        storages: Vec::new(),
        tensors: Vec::new(),
    }
}

impl<'a> Machine<'a> {
    /// Runs the next instruction; `false` after the last.
    fn step(&mut self) -> Result<bool> {
        let opcode = self.bytes(1)?[0];
        match opcode {
            b'.' => return Ok(false),
            0x80 => _ = self.bytes(1)?,
            0x95 => _ = self.bytes(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
            b'G' => {
                self.bytes(8)?;
                self.stack.push(Value::Other);
            }
            b'K' => self.number(1)?,
            b'M' => self.number(2)?,
            b'J' => {
                let value = self.unsigned(4)? as u32 as i32;
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => {
                let len = self.unsigned(1)?;
                if len > 8 {
                    return Err(format!("it has an integer of {len} bytes"));
                }
                let (value, unused) = (self.unsigned(len)?, 64 - 8 * len.max(1) as u32);
                self.stack.push(Value::Int((value << unused) as i64 >> unused));
            }
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            b')' => self.tuple(self.stack.len())?,
            b't' => {
                let mark = self.mark()?;
                self.tuple(mark)?;
            }
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                self.tuple(first.ok_or("a tuple lacks items")?)?;
            }
            b'}' | b']' => {
                let map = self.new_map(false);
                self.stack.push(map);
            }
            b's' | b'u' | b'a' | b'e' => self.fill(opcode)?,
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let index = self.memo.len() as u32;
                self.memo.insert(index, *self.stack.last().ok_or("nothing to remember")?);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(callable(module, name)?);
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.stack.push(callable(module, name)?),
                _ => return Err("a name in it is no text".into()),
            },
            b'Q' => self.storage()?,
            b'R' | 0x81 => self.call(opcode == 0x81)?,
            b'b' => self.build()?,
            other => return Err(format!("it has an instruction {other:#04x}, which no state_dict needs")),
        }
        Ok(true)
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (now, later) = self.rest.split_at_checked(len).ok_or("its pickle is cut off")?;
        self.rest = later;
        Ok(now)
    }

    fn unsigned(&mut self, len: u64) -> Result<u64> {
        let bytes = self.bytes(len as usize)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn number(&mut self, len: u64) -> Result<()> {
        let value = self.unsigned(len)?;
        self.stack.push(Value::Int(value as i64));
        Ok(())
    }

    fn text(&mut self, len: u64) -> Result<()> {
        let len = self.unsigned(len)? as usize;
        let text = std::str::from_utf8(self.bytes(len)?).map_err(|_| "a text in it is not UTF-8")?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str> {
        let len = self.rest.iter().position(|&byte| byte == b'\n').ok_or("its pickle is cut off")?;
        let line = self.bytes(len + 1)?;
        std::str::from_utf8(&line[..len]).map_err(|_| "a name in it is not UTF-8".into())
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= bottom {
            return Err("its pickle takes a value that is not there".into());
        }
        self.stack.pop().ok_or_else(|| "no value".into())
    }

    fn mark(&mut self) -> Result<usize> {
        let mark = self.marks.pop().ok_or("its pickle lacks a mark")?;
        if mark > self.stack.len() { Err("its pickle lost a mark".into()) } else { Ok(mark) }
    }

    /// A tuple of what lies on the stack from `first` on.
    fn tuple(&mut self, first: usize) -> Result<()> {
        if first < self.marks.last().copied().unwrap_or(0) {
            return Err("a tuple reaches over a mark".into());
        }
        let start = self.items.len();
        self.items.extend(self.stack.drain(first..));
        self.stack.push(Value::Tuple(start, self.items.len()));
        Ok(())
    }

    fn new_map(&mut self, is_module: bool) -> Value<'a> {
        self.maps.push(Map { is_module, ..Map::default() });
        Value::Map(self.maps.len() - 1)
    }

    /// Puts what is on the stack into the dictionary (pairs) or the list (values) below it: one, or all after the mark.
    fn fill(&mut self, opcode: u8) -> Result<()> {
        let pairs = matches!(opcode, b's' | b'u');
        let step = if pairs { 2 } else { 1 };
        let first = match opcode {
            b's' | b'a' => self.stack.len().checked_sub(step).ok_or("a dictionary lacks a value")?,
            _ => self.mark()?,
        };
        let values = self.stack.split_off(first);
        let Some(Value::Map(map)) = self.stack.last() else {
            return Err("its pickle fills what is no dictionary or list".into());
        };
        if !values.len().is_multiple_of(step) {
            return Err("a dictionary lacks a value".into());
        }
        let entries = &mut self.maps[*map].entries;
        for values in values.chunks_exact(step) {
            let key = if pairs { values[0] } else { Value::Int(entries.len() as i64) };
            entries.push((key, values[step - 1]));
        }
        Ok(())
    }

    fn remember(&mut self, len: u64) -> Result<()> {
        let index = self.unsigned(len)? as u32;
        self.memo.insert(index, *self.stack.last().ok_or("nothing to remember")?);
        Ok(())
    }

    fn recall(&mut self, len: u64) -> Result<()> {
        let index = self.unsigned(len)? as u32;
        let value = self.memo.get(&index).ok_or("its pickle recalls what it does not remember")?;
        self.stack.push(*value);
        Ok(())
    }

    /// A tuple's items.
    fn items(&self, value: Value<'a>) -> Result<&[Value<'a>]> {
        match value {
            Value::Tuple(start, end) => Ok(&self.items[start..end]),
            _ => Err("its pickle has something else where a tuple belongs".into()),
        }
    }

    /// `('storage', type, key, place, elements)`: the bytes of some tensors.
    fn storage(&mut self) -> Result<()> {
        let tuple = self.pop()?;
        let storage = match *self.items(tuple)? {
            [
                Value::Text("storage"),
                Value::Callable(Callable::Storage(dtype)),
                Value::Text(key),
                Value::Text(_),
                Value::Int(elements),
            ] if elements >= 0 => (dtype, key, elements as u64),
            _ => return Err("a storage in it is not described as PyTorch does".into()),
        };
        self.stack.push(Value::Storage(self.storages.len()));
        self.storages.push(storage);
        Ok(())
    }

    /// Calls a constructor with a tuple of arguments, or makes an object without (`new`).
    fn call(&mut self, new: bool) -> Result<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let arguments = self.items(arguments)?;
        let result = match (callable, arguments) {
            (Value::Callable(Callable::Module), []) if new => self.new_map(true),
            (Value::Callable(Callable::OrderedDict), []) if !new => self.new_map(false),
            (Value::Callable(Callable::Parameter), [tensor @ Value::Tensor(_), ..]) if !new => *tensor,
            (
                Value::Callable(Callable::Tensor),
                &[Value::Storage(storage), Value::Int(offset), shape, strides, ..],
            ) if !new && offset >= 0 => {
                let (dtype, key, elements) = self.storages[storage];
                let sizes = |value| -> Result<Vec<u64>> {
                    let size = |value: &Value<'_>| match value {
                        Value::Int(size) => {
                            u64::try_from(*size).map_err(|_| "a tensor has a size below 0".to_string())
                        }
                        _ => Err("a tensor has a size that is no number".into()),
                    };
                    self.items(value)?.iter().map(size).collect()
                };
                let (shape, strides) = (sizes(shape)?, sizes(strides)?);
                let view = View { key: key.into(), dtype, elements, offset: offset as u64, shape, strides };
                self.tensors.push(view);
                Value::Tensor(self.tensors.len() - 1)
            }
            _ => return Err("it calls a constructor otherwise than torch.save does".into()),
        };
        self.stack.push(result);
        Ok(())
    }

    /// Gives a module its attributes. Those of a dictionary (`_metadata`) are no tensors.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        match (self.stack.last(), state) {
            (Some(Value::Map(map)), Value::Map(state)) => {
                let map = &mut self.maps[*map];
                map.state = map.is_module.then_some(state);
                Ok(())
            }
            _ => Err("an object in it has a state that is no dictionary".into()),
        }
    }

    /// The tensors in a dictionary and in those inside it.
    fn flatten(&self, top: usize) -> Result<Vec<(String, View)>> {
        let entries = |map: usize| &self.maps[self.maps[map].state.unwrap_or(map)].entries;
        let whole = entries(top).iter().find_map(|(key, value)| match (key, value) {
            (Value::Text("state_dict"), Value::Map(map)) => Some(*map),
            _ => None,
        });
        let (mut found, mut visits) = (Vec::new(), 0);
        let mut open = vec![(whole.unwrap_or(top), String::new(), 0)];
        while let Some((map, prefix, depth)) = open.pop() {
            for (key, value) in entries(map) {
                visits += 1;
                if visits > MAX_VISITS || depth > MAX_DEPTH {
                    return Err("its dictionaries hold too much, or themselves".into());
                }
                if !matches!(value, Value::Tensor(_) | Value::Map(_)) {
                    continue;
                }
                let name = match key {
                    Value::Text(name) => format!("{prefix}{name}"),
                    Value::Int(number) => format!("{prefix}{number}"),
                    _ => return Err("a tensor in it has no name".into()),
                };
                if name.len() > MAX_NAME {
                    return Err(format!("a tensor's name has {} bytes", name.len()));
                }
                match value {
                    Value::Tensor(tensor) => found.push((name, self.tensors[*tensor].clone())),
                    Value::Map(map) => open.push((*map, name + ".", depth + 1)),
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

/// The constructor of this name, if it is one of those that are known.
fn callable<'a>(module: &str, name: &str) -> Result<Value<'a>> {
    let storage = |dtype| Callable::Storage(dtype);
    Ok(Value::Callable(match (module, name) {
        ("collections", "OrderedDict") => Callable::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Callable::Tensor,
        ("torch._utils", "_rebuild_parameter") => Callable::Parameter,
        ("torch", "FloatStorage") => storage(Dtype::F32),
        ("torch", "HalfStorage") => storage(Dtype::F16),
        ("torch", "BFloat16Storage") => storage(Dtype::BF16),
        ("torch", "DoubleStorage") => storage(Dtype::F64),
        ("torch", "LongStorage") => storage(Dtype::I64),
        ("torch", "IntStorage") => storage(Dtype::I32),
        ("torch", "ShortStorage") => storage(Dtype::I16),
        ("torch", "CharStorage") => storage(Dtype::I8),
        ("torch", "ByteStorage") => storage(Dtype::U8),
        ("torch", "BoolStorage") => storage(Dtype::BOOL),
        _ if module.starts_with("__torch__") => Callable::Module,
        _ => return Err(format!("it would run {module}.{name}, which is not done here")),
    }))
}
