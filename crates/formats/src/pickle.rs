//! The pickle inside a PyTorch file, read as data: nothing in it is ever called.
//!
//! A pickle is a program for a small stack machine. The few operations that `torch.save` writes for a dictionary of tensors are
//! interpreted here, and the few functions that it names are recognised by name; everything else is refused.
//!
//! Upstream: [`pickle`](https://docs.python.org/3/library/pickle.html) protocol 2, and `torch/serialization.py` of PyTorch 2.11.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::Refused;

/// Most operations, and deepest stack: a model has some thousand tensors of some dozen operations each.
const OPERATIONS_MAX: usize = 50_000_000;
const STACK_MAX: usize = 1_000_000;

/// A value on the stack.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// None, and state that is not looked at.
    None,
    Bool,
    Int(i64),
    /// A number whose value nobody needs.
    Float,
    Text(String),
    /// A tuple or a list.
    List(Rc<RefCell<Vec<Value>>>),
    Dict(Rc<RefCell<Vec<(Value, Value)>>>),
    /// A function, a class or a type, by its name.
    Name(String),
    /// Bytes of the archive: element type and the entry's key.
    Storage {
        dtype: String,
        key: String,
    },
    Tensor(TensorPlace),
}

/// A tensor in a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorPlace {
    /// Element type in safetensors' words.
    pub(crate) dtype: String,
    /// The archive's entry below `data/`.
    pub(crate) key: String,
    /// First element.
    pub(crate) offset: u64,
    pub(crate) shape: Vec<u64>,
}

/// Names that may occur, with the element type for those that are one.
const NAMES: [(&str, &str); 20] = [
    ("torch._utils _rebuild_tensor_v2", ""),
    ("torch._utils _rebuild_tensor_v3", ""),
    ("torch._utils _rebuild_parameter", ""),
    ("collections OrderedDict", ""),
    ("torch.storage UntypedStorage", "U8"),
    ("torch BFloat16Storage", "BF16"),
    ("torch HalfStorage", "F16"),
    ("torch FloatStorage", "F32"),
    ("torch DoubleStorage", "F64"),
    ("torch LongStorage", "I64"),
    ("torch IntStorage", "I32"),
    ("torch ByteStorage", "U8"),
    ("torch BoolStorage", "BOOL"),
    ("torch float8_e4m3fn", "F8_E4M3"),
    ("torch float8_e5m2", "F8_E5M2"),
    ("torch bfloat16", "BF16"),
    ("torch float16", "F16"),
    ("torch float32", "F32"),
    ("torch float64", "F64"),
    ("torch Size", ""),
];

/// Runs a pickle and returns what it leaves.
///
/// # Errors
/// An operation or a name that no file of weights needs, by its name; a damaged program.
pub(crate) fn read(program: &[u8]) -> Result<Value, Refused> {
    Machine { program, at: 0, stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new() }.run()
}

struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: BTreeMap<u64, Value>,
}

impl Machine<'_> {
    fn run(mut self) -> Result<Value, Refused> {
        for _ in 0..OPERATIONS_MAX {
            let operation = self.take(1)?[0];
            if operation == b'.' {
                return self.pop();
            }
            self.step(operation)?;
            if self.stack.len() > STACK_MAX {
                break;
            }
        }
        Err(Refused::new("has a pickle that is too large for a file of weights"))
    }

    fn step(&mut self, operation: u8) -> Result<(), Refused> {
        match operation {
            // PROTO, and FRAME of protocol 4.
            0x80 => drop(self.take(1)?),
            b'c' => self.name()?,
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'X' => self.text()?,
            b'J' | b'K' | b'M' | 0x8a => self.integer(operation)?,
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Float);
            }
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool),
            b'(' => self.marks.push(self.stack.len()),
            b')' | b']' => self.stack.push(list(Vec::new())),
            b'}' => self.stack.push(Value::Dict(Rc::default())),
            0x85..=0x87 => {
                let items = self.stack.len().checked_sub(usize::from(operation - 0x84)).ok_or_else(damaged)?;
                let items = self.stack.split_off(items);
                self.stack.push(list(items));
            }
            b't' => {
                let items = self.since_mark()?;
                self.stack.push(list(items));
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![key, value])?;
            }
            b'Q' => self.persistent()?,
            b'R' => self.reduce()?,
            // State of an ordered dictionary, which holds no tensors.
            b'b' => drop(self.pop()?),
            other => {
                return Err(Refused::new(format!(
                    "has the pickle operation 0x{other:02x}, which no file of weights needs; it was not executed"
                )));
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Refused> {
        let end = self.at.checked_add(count).ok_or_else(damaged)?;
        let bytes = self.program.get(self.at..end).ok_or_else(damaged)?;
        self.at = end;
        Ok(bytes)
    }

    fn number(&mut self, count: usize) -> Result<u64, Refused> {
        Ok(self.take(count)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn line(&mut self) -> Result<String, Refused> {
        let length = self.program[self.at..].iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    fn pop(&mut self) -> Result<Value, Refused> {
        self.stack.pop().ok_or_else(damaged)
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, Refused> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(damaged)?;
        Ok(self.stack.split_off(mark))
    }

    fn name(&mut self) -> Result<(), Refused> {
        let name = format!("{} {}", self.line()?, self.line()?);
        if !NAMES.iter().any(|(known, _)| *known == name) {
            let name = name.replace(' ', ".");
            return Err(Refused::new(format!("names `{name}`, which no file of weights needs; it was not executed")));
        }
        self.stack.push(Value::Name(name));
        Ok(())
    }

    fn remember(&mut self, bytes: usize) -> Result<(), Refused> {
        let place = self.number(bytes)?;
        self.memo.insert(place, self.stack.last().ok_or_else(damaged)?.clone());
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Result<(), Refused> {
        let place = self.number(bytes)?;
        self.stack.push(self.memo.get(&place).ok_or_else(damaged)?.clone());
        Ok(())
    }

    fn text(&mut self) -> Result<(), Refused> {
        let length = usize::try_from(self.number(4)?).map_err(|_| damaged())?;
        let text = String::from_utf8(self.take(length)?.to_vec()).map_err(|_| damaged())?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn integer(&mut self, operation: u8) -> Result<(), Refused> {
        let value = match operation {
            // A signed number of 32 bits.
            b'J' => {
                let bytes = self.take(4)?;
                i64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            b'K' => i64::from(self.take(1)?[0]),
            b'M' => i64::try_from(self.number(2)?).map_err(|_| damaged())?,
            _ => {
                let length = usize::from(self.take(1)?[0]);
                if length > 8 {
                    return Err(damaged());
                }
                let negative = self.program.get(self.at + length.max(1) - 1).is_some_and(|byte| byte & 0x80 != 0);
                let value = self.number(length)?;
                let fill = if negative && (1..8).contains(&length) { u64::MAX << (8 * length) } else { 0 };
                i64::from_le_bytes((value | fill).to_le_bytes())
            }
        };
        self.stack.push(Value::Int(value));
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), Refused> {
        match self.stack.last() {
            Some(Value::List(list)) => list.borrow_mut().extend(items),
            _ => return Err(damaged()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), Refused> {
        let Some(Value::Dict(dict)) = self.stack.last() else { return Err(damaged()) };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            dict.borrow_mut().push((key, value));
        }
        Ok(())
    }

    /// `('storage', class, key, device, elements)`.
    fn persistent(&mut self) -> Result<(), Refused> {
        let id = items(&self.pop()?)?;
        let [Value::Text(kind), Value::Name(class), Value::Text(key), ..] = id.as_slice() else {
            return Err(damaged());
        };
        let dtype = element(class).filter(|_| kind == "storage").ok_or_else(damaged)?;
        self.stack.push(Value::Storage { dtype, key: key.clone() });
        Ok(())
    }

    /// A call of a function: those that build tensors and dictionaries are recognised.
    fn reduce(&mut self) -> Result<(), Refused> {
        let (arguments, function) = (items(&self.pop()?)?, self.pop()?);
        let Value::Name(name) = function else { return Err(damaged()) };
        let value = match name.as_str() {
            "torch._utils _rebuild_tensor_v2" => tensor(&arguments, None)?,
            "torch._utils _rebuild_tensor_v3" => tensor(&arguments, arguments.get(6))?,
            "torch._utils _rebuild_parameter" => arguments.into_iter().next().ok_or_else(damaged)?,
            "collections OrderedDict" => Value::Dict(Rc::default()),
            "torch Size" => arguments.into_iter().next().ok_or_else(damaged)?,
            _ => return Err(damaged()),
        };
        self.stack.push(value);
        Ok(())
    }
}

fn list(items: Vec<Value>) -> Value {
    Value::List(Rc::new(RefCell::new(items)))
}

fn items(value: &Value) -> Result<Vec<Value>, Refused> {
    match value {
        Value::List(list) => Ok(list.borrow().clone()),
        _ => Err(damaged()),
    }
}

fn element(name: &str) -> Option<String> {
    let (_, dtype) = NAMES.iter().find(|(known, _)| *known == name)?;
    (!dtype.is_empty()).then(|| (*dtype).to_owned())
}

/// `(storage, offset, size, stride, ...)`; a type of its own where the storage has none.
fn tensor(arguments: &[Value], own: Option<&Value>) -> Result<Value, Refused> {
    let [Value::Storage { dtype, key }, Value::Int(offset), size, stride, ..] = arguments else {
        return Err(damaged());
    };
    let numbers = |value: &Value| -> Result<Vec<u64>, Refused> {
        let number = |item: &Value| match item {
            Value::Int(number) => u64::try_from(*number).map_err(|_| damaged()),
            _ => Err(damaged()),
        };
        items(value)?.iter().map(number).collect()
    };
    let (shape, stride) = (numbers(size)?, numbers(stride)?);
    let mut step = 1_u64;
    for (size, stride) in shape.iter().zip(&stride).rev() {
        if *size > 1 && *stride != step {
            return Err(Refused::new(
                "has a tensor that is not contiguous; load it with PyTorch and save it with safetensors",
            ));
        }
        step = step.checked_mul(*size).ok_or_else(damaged)?;
    }
    let dtype = match own {
        Some(Value::Name(name)) => element(name).ok_or_else(damaged)?,
        _ => dtype.clone(),
    };
    let offset = u64::try_from(*offset).map_err(|_| damaged())?;
    Ok(Value::Tensor(TensorPlace { dtype, key: key.clone(), offset, shape }))
}

fn damaged() -> Refused {
    Refused::new("has a damaged pickle; download it again")
}
