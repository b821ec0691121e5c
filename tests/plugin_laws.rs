//! The built-in model and datasets obey the laws that every plugin must.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "cli/fixture.rs"]
mod fixture;

use fixture::Fixture;
use lopper::{Dataset, DatasetEntry, DatasetRequest, Model, ModelEntry, ModelRequest, Split, registry};
use lopper_testkit::{laws, serial};
use tch::Device;

/// The tiny BERT with the head that a dataset needs, and that dataset.
fn open(fixture: &Fixture, dataset: &str, options: &toml::Table) -> (Box<dyn Model>, Box<dyn Dataset>) {
    let dataset = registry::find::<DatasetEntry>(dataset).unwrap();
    let task = (dataset.task)(options).unwrap();
    let request = ModelRequest {
        path: fixture.path("model"),
        options: &toml::Table::new(),
        task: Some(&task),
        device: Device::Cpu,
        seed: 3,
    };
    let model = (registry::find::<ModelEntry>("bert").unwrap().open)(&request).unwrap();
    let dataset = (dataset.open)(&DatasetRequest::for_model(options, model.as_ref())).unwrap();
    (model, dataset)
}

fn glue(fixture: &Fixture, task: &str, folder: &str) -> toml::Table {
    let path = fixture.path(folder).to_str().unwrap().to_owned();
    toml::Table::from_iter([("task".to_owned(), task.into()), ("path".to_owned(), path.into())])
}

#[test]
fn bert_and_its_datasets_obey() {
    let _serial = serial();
    let fixture = Fixture::new();
    let mut mrpc = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n".to_owned();
    let mut stsb =
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n".to_owned();
    for row in 0..70 {
        let (first, second) =
            (["a film", "the play was good"][row % 2], ["the book", "a dull book .", "fine"][row % 3]);
        mrpc += &format!("{}\t{row}\t{row}\t{first}\t{second}\n", row % 2);
        stsb += &format!("{row}\tg\tf\t2012\t{row}\ts\ts\t{first}\t{second}\t{}\n", row as f64 / 14.0);
    }
    for split in ["train", "dev"] {
        fixture.write(&format!("MRPC/{split}.tsv"), &mrpc).write(&format!("STS-B/{split}.tsv"), &stsb);
    }
    let agreement = "train = 200\nvalidation = 100".parse().unwrap();
    let mut models = Vec::new();
    for (name, options) in [
        ("agreement", agreement),
        ("glue", glue(&fixture, "sst-2", "SST-2")),
        ("glue", glue(&fixture, "mrpc", "MRPC")),
        ("glue", glue(&fixture, "sts-b", "STS-B")),
    ] {
        let (model, dataset) = open(&fixture, name, &options);
        laws::dataset(dataset.as_ref());
        let batch = dataset.batch(&Split::TRAIN, &[0, 1, 2, 5, 9]).unwrap();
        laws::model(model.as_ref(), &batch);
        models.push(model);
    }
    for other in &models[1..] {
        laws::masks_transfer(models[0].as_ref(), other.as_ref());
    }
}
