//! Files of PyTorch's that mean harm, or make no sense, are refused, each with its reason, and soon.

use crate::archive::{Entry, Tensor, dict, end, file, int, text, zip};
use crate::pth::check;
use pleach_core::checkpoint::CheckpointError;

/// The classifier's weights, of which storage "0" has all 4.
const SOUND: Tensor<'_> = Tensor {
    name: "fc.weight",
    storage: "FloatStorage",
    key: "0",
    len: 4,
    offset: 0,
    shape: &[2, 2],
    strides: &[2, 1],
};

/// What the reader says of these bytes.
fn refusal(bytes: &[u8]) -> String {
    let error = check(bytes).expect_err("a hostile file");
    if let CheckpointError::Format { offset, .. } = &error {
        assert!(*offset <= bytes.len() as u64, "{error}");
    }
    error.to_string()
}

/// What it says of a file with this pickle, and four floats as storage "0".
fn refusal_of_pickle(pickle: &[u8]) -> String {
    refusal(&file(pickle, &[("0", vec![0; 16])]))
}

#[track_caller]
fn says(error: &str, part: &str) {
    assert!(error.contains(part), "{error} should say {part}");
}

#[test]
fn the_file_that_the_others_are_damaged_copies_of_is_sound() {
    check(&file(&dict(&[SOUND]), &[("0", vec![0; 16])])).unwrap();
}

#[test]
fn calls_of_anything_else_are_refused_by_name() {
    let call =
        |global: &str| [b"\x80\x02", global.as_bytes(), &text("touch /tmp/x"), b"\x85R."].concat();
    for (global, name) in [
        ("cos\nsystem\n", "the global \"os.system\""),
        ("cposix\nsystem\n", "the global \"posix.system\""),
        ("cbuiltins\neval\n", "the global \"builtins.eval\""),
        ("csubprocess\nPopen\n", "the global \"subprocess.Popen\""),
        ("ctorch\nload\n", "the global \"torch.load\""),
        ("ctorch.FloatStorage\n__reduce__\n", "\"torch.FloatStorage.__reduce__\""),
        ("ctorchvision.models.vgg\nVGG\n", "\"torchvision.models.vgg.VGG\""),
        ("c__torch__\nNet\n", "\"__torch__.Net\""),
        ("ccollections\nOrderedDict.fromkeys\n", "\"collections.OrderedDict.fromkeys\""),
    ] {
        let error = refusal_of_pickle(&call(global));
        says(&error, name);
        says(&error, "nothing in a file is executed");
        says(&error, "torch.save(model.state_dict(), FILE)");
    }
    let stack_global = [b"\x80\x04", &text("os")[..], &text("system"), b"\x93)R."].concat();
    says(&refusal_of_pickle(&stack_global), "the global \"os.system\"");
    let long = format!("c{}\n{}\n", "m".repeat(1 << 20), "n".repeat(1 << 20));
    assert!(refusal_of_pickle(&call(&long)).len() < 1000);
}

#[test]
fn instructions_that_state_dicts_do_not_have_are_refused_by_name() {
    for (instructions, name) in [
        (&b"(ios\nsystem\n."[..], "0x69 (INST)"),
        (b"(ccollections\nOrderedDict\no.", "0x6f (OBJ)"),
        (b"ccollections\nOrderedDict\n)\x81.", "0x81 (NEWOBJ)"),
        (b"ccollections\nOrderedDict\n)}\x92.", "0x92 (NEWOBJ_EX)"),
        (b"\x82\x01.", "0x82 (EXT)"),
        (b"Pid\n.", "0x50 (PERSID)"),
        (b"C\x01a.", "0x43 (BYTES)"),
        (b"S'a'\n.", "0x53 (STRING)"),
        (b"I1\n.", "0x49 (of protocol 0)"),
        (b"\x8f.", "0x8f (of sets)"),
        (b"\xff.", "instruction 0xff"),
    ] {
        says(&refusal_of_pickle(&[b"\x80\x02", instructions].concat()), name);
    }
    says(&refusal_of_pickle(b"\x80\x01}."), "a pickle of protocol 2 to 5, found 1");
}

#[test]
fn pickles_that_make_no_sense_are_refused() {
    let storage = |len: i64, kind: &str| {
        let id = [text("storage"), kind.into(), text("0"), text("cpu"), int(len)].concat();
        [b"\x80\x02(", &id[..], b"tQ."].concat()
    };
    for (pickle, part) in [
        (b"".to_vec(), "the end of the pickle"),
        (b"\x80\x02}".to_vec(), "the end of the pickle"),
        (b"\x80\x02.".to_vec(), "expected a value on the stack"),
        (b"\x80\x02}(.".to_vec(), "expected a value on the stack"),
        (b"\x80\x02u.".to_vec(), "expected a mark on the stack"),
        (b"\x80\x02(u.".to_vec(), "expected a value on the stack"),
        (b"\x80\x02\x86.".to_vec(), "expected a value on the stack"),
        (b"\x80\x02}(\x85.".to_vec(), "expected a value on the stack"),
        (b"\x80\x02}(Nu.".to_vec(), "values put into a dictionary"),
        (b"\x80\x02N(NNu.".to_vec(), "values put into None"),
        (b"\x80\x02]Nb.".to_vec(), "values put into a list"),
        (b"\x80\x02h\x07.".to_vec(), "expected a value kept at place 7"),
        (b"\x80\x02j\xff\xff\xff\xff.".to_vec(), "expected a value kept at place 4294967295"),
        (b"\x80\x02q\0.".to_vec(), "expected a value on the stack"),
        (b"\x80\x02X\xff\xff\xff\xffab.".to_vec(), "the end of the pickle"),
        (b"\x80\x02X\x01\0\0\0\xff.".to_vec(), "expected text in UTF-8"),
        (b"\x80\x02\x8a\x09\0\0\0\0\0\0\0\0\x01.".to_vec(), "a number of 8 bytes, found 9 bytes"),
        (b"\x80\x02cos".to_vec(), "the end of the pickle"),
        (b"\x80\x02NNR.".to_vec(), "a call of None"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.".to_vec(), "a call of a function"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.".to_vec(), "a call of a function"),
        (b"\x80\x02)Q.".to_vec(), "expected the identifier of a storage"),
        (storage(1, "ccollections\nOrderedDict\n"), "expected the identifier of a storage"),
        (storage(-1, "ctorch\nFloatStorage\n"), "a number of at least 0, found -1"),
        (storage(1, "ctorch\nFloatStorage\n"), "expected a state dict"),
        (b"\x80\x02K\x07.".to_vec(), "expected a state dict: a dictionary"),
        (b"\x80\x02].".to_vec(), "found a list"),
        ([b"\x80\x02}", &text("epoch")[..], b"K\x03s."].concat(), "3 under the key \"epoch\""),
        (b"\x80\x02}K\x01K\x02s.".to_vec(), "2 under the key 1"),
    ] {
        says(&refusal_of_pickle(&pickle), part);
    }
}

#[test]
fn pickles_made_to_take_time_or_memory_are_refused_soon() {
    // A stack, marks, objects and instructions without end; each file has 8 MB.
    const MANY: usize = 8 << 20;
    let started = std::time::Instant::now();
    for (start, repeated, part) in [
        (&b"\x80\x02"[..], &b"N"[..], "at most 65536 values on the stack"),
        (b"\x80\x02", b"(", "at most 65536 marks"),
        (b"\x80\x02", b"}q\0", "at most 65536 values on the stack"),
        (b"\x80\x02]", b"}a", "at most 2097152 instructions"),
        (b"\x80\x02]", b"Na", "at most 2097152 instructions"),
        (b"\x80\x02}", b"NNs", "at most 2097152 instructions"),
        // A dictionary in itself, time and again, and one that all others are in.
        (b"\x80\x02}q\0", b"Nh\0s", "at most 2097152 instructions"),
        (b"\x80\x02}q\0", b"N}(Nh\0uq\0s", "at most 2097152 instructions"),
        (b"\x80\x02}q\0", b"\x80\x02", "at most 2097152 instructions"),
    ] {
        let pickle = [start, &repeated.repeat(MANY / repeated.len())].concat();
        says(&refusal_of_pickle(&pickle), part);
    }
    // Tuples in tuples, a million deep: doubled at every level, as trees they would never end.
    let nested = [b"\x80\x02)", &b"q\0h\0\x86".repeat(500_000)[..], b"."].concat();
    says(&refusal_of_pickle(&nested), "found a tuple");
    // One tuple of many dimensions that many tensors share.
    let dims = [&b"("[..], &b"K\x01".repeat(60_000), b"tq\0"].concat();
    let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(h\x01K\0h\0h\0tR";
    let storage = [text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text("0"), text("cpu")];
    let storage = [b"(", &storage.concat()[..], b"K\x04tQq\x01"].concat();
    let shared = [b"\x80\x02]", &dims[..], b"a", &storage, b"a", &tensor.repeat(1000)].concat();
    says(&refusal_of_pickle(&shared), "at most 8 dimensions, found 60000");
    // Far more than it takes even without optimisation and in company.
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn a_pickle_that_is_larger_than_any_state_dict_needs_is_refused_unread() {
    let pickle = [&b"\x80\x02"[..], &vec![b'N'; 100_000_000]].concat();
    says(&refusal_of_pickle(&pickle), "a pickle of at most 100000000 bytes, found 100000002");
}

#[test]
fn tensors_that_are_not_in_their_storage_are_refused() {
    let max = i64::MAX;
    for (tensor, part) in [
        (Tensor { shape: &[3, 2], ..SOUND }, "within the 4 values"),
        (Tensor { offset: 1, ..SOUND }, "from value 1"),
        (Tensor { offset: max, ..SOUND }, "within the 4 values"),
        (Tensor { offset: -1, ..SOUND }, "a number of at least 0, found -1"),
        (Tensor { strides: &[3, 1], ..SOUND }, "with strides [3, 1]"),
        (Tensor { strides: &[-2, 1], ..SOUND }, "a number of at least 0, found -2"),
        (Tensor { shape: &[-2, -2], ..SOUND }, "a number of at least 0, found -2"),
        (Tensor { strides: &[max, max], ..SOUND }, "within the 4 values"),
        (Tensor { shape: &[max, max], ..SOUND }, "within the 4 values"),
        // More values than the storage has, made of one that is read again and again.
        (Tensor { shape: &[1 << 20, 1 << 20], strides: &[0, 0], ..SOUND }, "within the 4 values"),
        (Tensor { shape: &[5], strides: &[0], ..SOUND }, "within the 4 values"),
        (Tensor { shape: &[0, 2], offset: 5, ..SOUND }, "within the 4 values"),
        (Tensor { strides: &[1], ..SOUND }, "a stride for each dimension"),
        (Tensor { len: 5, ..SOUND }, "5 values of F32 in \"net/data/0\", found 16 bytes"),
        (Tensor { len: max, ..SOUND }, "found 16 bytes"),
        (Tensor { storage: "LongStorage", ..SOUND }, "4 values of I64 in \"net/data/0\""),
        (Tensor { storage: "ComplexFloatStorage", ..SOUND }, "\"torch.ComplexFloatStorage\""),
        (Tensor { storage: "QInt8Storage", ..SOUND }, "\"torch.QInt8Storage\""),
        (Tensor { key: "1", ..SOUND }, "a file \"net/data/1\""),
        (Tensor { key: "../data.pkl", ..SOUND }, "a file \"net/data/../data.pkl\""),
        // Tensors that are sound, but not those of the network.
        (Tensor { storage: "IntStorage", ..SOUND }, "expected F64, F32, F16 or BF16, found I32"),
        (Tensor { shape: &[4], strides: &[1], ..SOUND }, "expected shape [2, 2], found [4]"),
        (Tensor { shape: &[0, 9], ..SOUND }, "expected shape [2, 2], found [0, 9]"),
    ] {
        says(&refusal_of_pickle(&dict(&[tensor])), part);
    }
    says(&refusal_of_pickle(&dict(&[SOUND, SOUND])), "\"fc.weight\" twice");
}

#[test]
fn tensors_that_share_a_storage_cannot_be_more_than_the_file_in_memory() {
    let names: Vec<String> = (0..2000).map(|i| format!("a{i}")).collect();
    let tensor = |name: &'static str| Tensor {
        name,
        len: 1 << 20,
        shape: &[1 << 20],
        strides: &[1],
        ..SOUND
    };
    let tensors: Vec<_> = names.iter().map(|name| Tensor { name, ..tensor("") }).collect();
    let bytes = file(&dict(&tensors), &[("0", vec![0; 4 << 20])]);
    says(&refusal(&bytes), "tensors of at most twice the file's size");
}

#[test]
fn archives_that_are_damaged_are_refused() {
    let pickle = Entry::new("net/data.pkl", dict(&[SOUND]));
    let storage = Entry::new("net/data/0", [0; 16]);
    let whole = zip(&[pickle.clone(), storage.clone()]);
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut storage = storage.clone();
        change(&mut storage);
        zip(&[pickle.clone(), storage])
    };
    let offset = (30 + pickle.name.len() + pickle.bytes.len()) as u32;
    let directory = whole.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let without_end = &whole[..whole.len() - 22];
    let start = directory as u32;
    let size = without_end.len() as u32 - start;
    let ending = |count, size, start| [without_end, &end(count, size, start)].concat();
    check(&ending(2, size, start)).unwrap();
    for (bytes, part) in [
        (b"PK\x03\x04".to_vec(), "the file is cut short"),
        (without_end.to_vec(), "the file is cut short"),
        ([&whole[..], b"more"].concat(), "the file is cut short"),
        (ending(3, size, start), "a directory within"),
        (ending(1, size, start), "the end of the directory"),
        (ending(2, size + 1, start), "a directory within"),
        (ending(2, size - 1, start), "a directory entry in the directory"),
        (ending(2, size - 1, start + 1), "a directory entry of 46 bytes, found other bytes"),
        (ending(2, size, 0), "a directory entry"),
        (ending(u16::MAX, u32::MAX, u32::MAX), "a zip64 locator"),
        (with(&|entry| entry.method = 8), "\"net/data/0\" compressed by method 8"),
        (with(&|entry| entry.flags = 1), "\"net/data/0\" encrypted"),
        (
            with(&|entry| entry.compressed = Some(8)),
            "all bytes of \"net/data/0\", found 8 bytes of 16",
        ),
        (
            with(&|entry| (entry.size, entry.compressed) = (Some(17), Some(17))),
            "\"net/data/0\" before the directory",
        ),
        (with(&|entry| entry.size = Some(u32::MAX)), "a zip64 field of \"net/data/0\""),
        (
            with(&|entry| {
                (entry.size, entry.compressed) = (Some(u32::MAX), Some(u32::MAX));
                entry.extra = [&b"\x01\0\x10\0"[..], &[0xFF; 16]].concat();
            }),
            "\"net/data/0\" before the directory",
        ),
        (
            with(&|entry| {
                entry.offset = Some(u32::MAX);
                entry.extra = [&b"\x01\0\x08\0"[..], &[0xFF; 8]].concat();
            }),
            "the header of \"net/data/0\" of 30 bytes",
        ),
        (with(&|entry| entry.offset = Some(offset + 1)), "the header of \"net/data/0\""),
        (with(&|entry| entry.offset = Some(0)), "the header of \"net/data/0\", found another"),
        (with(&|entry| entry.local_name = Some(b"net/data/1".to_vec())), "found another one"),
        (with(&|entry| entry.name = b"net/data\xff".to_vec()), "a file's name in UTF-8"),
        (zip(&[pickle.clone(), storage.clone(), storage.clone()]), "\"net/data/0\" twice"),
        (
            zip(&[
                pickle.clone(),
                Entry { local_name: Some(b"net/data/0".to_vec()), ..storage.clone() },
                Entry { offset: Some(offset), name: b"net/data/0".to_vec(), ..storage.clone() },
            ]),
            "twice",
        ),
        (zip(std::slice::from_ref(&storage)), "one data.pkl in one folder"),
        (zip(&[pickle.clone(), Entry::new("other/data.pkl", *b"")]), "one data.pkl in one folder"),
        (zip(&[Entry::new("a/b/data.pkl", *b"")]), "one data.pkl in one folder"),
        (
            zip(&[pickle.clone(), storage.clone(), Entry::new("net/byteorder", *b"big")]),
            "the byte order \"little\", found \"big\"",
        ),
    ] {
        says(&refusal(&bytes), part);
    }
}

#[test]
fn files_in_the_same_bytes_are_refused() {
    // The storage's header and name are the end of the pickle.
    let mut storage = zip(&[Entry::new("net/data/0", [0; 16])]);
    storage.truncate(30 + 10 + 16);
    let pickle = [dict(&[SOUND]), storage.clone()].concat();
    let offset = (30 + 12 + pickle.len() - storage.len()) as u32;
    let inner = Entry { offset: Some(offset), ..Entry::new("net/data/0", [0; 16]) };
    let error = refusal(&zip(&[Entry::new("net/data.pkl", pickle), inner]));
    says(&error, "\"net/data.pkl\" and \"net/data/0\" in the same bytes");
}
