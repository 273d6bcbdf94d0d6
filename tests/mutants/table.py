"""Where mutants are planted, and the tests that must notice: those of the module itself, quickest first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mutants.edits import Edit, edits
from mutants.of_crosscheck import OF_CROSSCHECK
from mutants.pairs import pairs

ROOT = Path(__file__).parents[2]
TWINS, BACKENDS, DATA, RUNS = "crosscheck/tests/twins", "tests/backends", "tests/foundation", "tests/training"
COMMANDS = "tests/commands"
KERNELS = "crosscheck/tests/kernels/test_clusters.py"
CHECKPOINTS = f"{DATA}/test_checkpoint.py"
LAW = "test_both_sides_draw_initial_values_by_the_law_of_the_specification_for"
QKV = "test_init_qkv_proj_gives_three_independent_square_maps_on_both_sides"
LAYER = (
    f"{TWINS}/test_twins.py::{QKV}",
    f"{TWINS}/test_twins.py::test_parameter_counts_are_those_of_the_specification",
    f"{TWINS}/test_specification.py",
    f"{TWINS}/test_defaults.py",
    f"{TWINS}/test_initial_values.py::{LAW}",
    f"{TWINS}/test_precision_policy.py",
    f"{BACKENDS}/test_layers_at_their_limits.py",
)
PRETRAINED = "crosscheck/tests/pretrained/test_pretrained.py"
MODEL = (*LAYER, f"{TWINS}/test_gpt_variants.py", f"{TWINS}/test_looking.py")
STEPS = (
    f"{BACKENDS}/test_backends.py",
    f"{BACKENDS}/test_losses.py",
    f"{BACKENDS}/test_exact_products.py",
    f"{BACKENDS}/test_backend_states.py",
    f"{BACKENDS}/test_accumulation.py",
    f"{BACKENDS}/test_frozen.py",
    f"{BACKENDS}/test_native_dropout.py",
)
OF_A_KERNEL = (f"{BACKENDS}/test_implementations.py", *LAYER)
DIFFERENTIABLE = ("layers/", "models/", "losses.py", "dropout.py")
BY_HAND = ("layers/persistent_gru.py",)  # where frameworks look for no gradients: the kernels give them
TWIN_FILES: dict[str, tuple[str, ...]] = {  # in torch_impl and jax_impl, planted in both alike: the first that fits
    "layers/persistent_gru.py": OF_A_KERNEL,
    "layers/fused_gru.py": OF_A_KERNEL,
    "layers/*.py": LAYER,
    "layers/pretrained/*.py": LAYER,
    "layers/ablations/*.py": (*LAYER, f"{TWINS}/test_gpt_variants.py"),
    "models/bert.py": (*MODEL, PRETRAINED),
    "models/clip.py": (*MODEL, PRETRAINED),
    "models/*.py": MODEL,
    "losses.py": (f"{BACKENDS}/test_losses.py", *LAYER),
    "generation.py": (f"{TWINS}/test_generation.py",),
    "embedding.py": ("crosscheck/tests/pretrained/test_sentence_embeddings.py",),
    "translation.py": (f"{TWINS}/test_translation.py",),
    "looking.py": (f"{TWINS}/test_looking.py",),
    "precision.py": LAYER,
    "dropout.py": (f"{TWINS}/test_specification.py", f"{BACKENDS}/test_native_dropout.py", f"{TWINS}/test_rng.py"),
    "random_bits.py": (f"{TWINS}/test_rng.py", f"{TWINS}/test_random_stream.py"),
    "optimizer.py": (f"{BACKENDS}/test_optimizers.py",),
    "update.py": (f"{BACKENDS}/test_update.py", f"{BACKENDS}/test_accumulation.py", f"{BACKENDS}/test_frozen.py"),
    "objective.py": STEPS,
    "backend.py": STEPS,
    "weights.py": (f"{TWINS}/test_weights.py", f"{BACKENDS}/test_backend_states.py"),
}
SHARED_FILES: dict[str, tuple[str, ...]] = {  # planted in one file: shared code, or what only one framework has
    "torch_impl/one_token.py": (
        f"{TWINS}/test_generation.py::test_a_step_in_few_calls_gives_the_logits_and_the_cache_of_the_model",
        f"{TWINS}/test_generation.py::test_a_model_with_ablations_or_other_layers_or_hooks_is_read_as_it_is_written",
    ),
    "torch_impl/one_pass_adamw.py": (f"{BACKENDS}/test_one_pass_adamw.py",),
    "torch_impl/ordered_embedding.py": (f"{BACKENDS}/test_ordered_embedding.py",),
    "jax_impl/compile_cache.py": (f"{BACKENDS}/test_compiled_once.py",),
    "shared/schedules.py": (f"{DATA}/test_schedules.py",),
    "shared/initial_weights.py": (
        f"{DATA}/test_initial_weights.py",
        f"{TWINS}/test_gpt_variants.py::test_directions_are_orthogonal_in_groups_and_as_long_as_normal_vectors",
        f"{TWINS}/test_gpt_variants.py::test_random_features_approach_softmax_attention_with_their_number",
    ),
    "shared/weight_rules.py": (f"{DATA}/test_weight_rules.py", f"{TWINS}/test_weights.py"),
    "shared/parameter_groups.py": (f"{DATA}/test_parameter_groups.py",),
    "shared/training_state.py": (f"{BACKENDS}/test_backend_states.py",),
    "shared/atomic.py": (
        f"{CHECKPOINTS}::test_a_file_in_folders_that_there_are_not_makes_them",
        f"{CHECKPOINTS}::test_what_is_no_file_is_not_replaced",
        f"{CHECKPOINTS}::test_an_interruption_leaves_the_old_file_and_no_temporary",
        f"{CHECKPOINTS}::test_a_full_disk_leaves_the_old_file_and_no_temporary",
        f"{CHECKPOINTS}::test_a_full_disk_leaves_the_old_checkpoint",
        f"{CHECKPOINTS}::test_a_folder_and_a_file_are_on_disk_before_they_have_their_names",
        f"{CHECKPOINTS}::test_what_a_library_still_writes_after_its_failure_is_removed_too",
        f"{CHECKPOINTS}::test_what_a_killed_process_left_is_ignored_and_cleaned_up",
        f"{CHECKPOINTS}::test_a_step_is_found_when_the_process_was_killed_between_the_two_renames_of_a_replacement",
        f"{CHECKPOINTS}::test_a_folder_takes_the_place_of_another_whatever_a_killed_process_set_aside",
        f"{CHECKPOINTS}::test_best_is_there_at_every_moment_of_its_replacement",
        f"{CHECKPOINTS}::test_writing_over_a_step_replaces_it",
        f"{CHECKPOINTS}::test_pruning_keeps_the_newest_and_best",
    ),
    "shared/rng.py": (f"{TWINS}/test_rng.py", f"{TWINS}/test_random_stream.py"),
    "shared/tasks/language_modelling.py": (f"{DATA}/test_language_modelling.py",),
    "shared/tasks/masked_language_modelling.py": (
        f"{DATA}/test_masked_language_modelling.py",
        f"{RUNS}/test_masked_language_models.py",
    ),
    "shared/data/words.py": (f"{DATA}/test_words_and_characters.py",),
    "shared/data/characters.py": (f"{DATA}/test_words_and_characters.py",),
    "shared/tasks/generation.py": (f"{TWINS}/test_generation.py",),
    "shared/gru_plan.py": (
        f"{DATA}/test_gru_plan.py",
        f"{BACKENDS}/test_implementations.py::test_the_kernel_says_why_it_does_not_serve",
        f"{BACKENDS}/test_implementations.py::test_the_kernel_serves_a_whole_gpu",
        f"{KERNELS}::test_both_passes_run_as_the_same_kernels",
        f"{KERNELS}::test_shared_memory_is_what_the_sources_assert_and_fits",
        f"{KERNELS}::test_what_serves_is_told",
    ),
    "shared/cuda/gru_clusters.py": (KERNELS,),
    "shared/foreign_layouts.py": (f"{TWINS}/test_foreign_layouts.py",),
    "shared/rules/axes.py": (f"{COMMANDS}/test_port_rules.py",),
    "shared/rules/moving.py": (f"{COMMANDS}/test_port_rules.py",),
    "shared/rules/tables.py": (f"{COMMANDS}/test_port_rules.py",),
    "shared/example_inputs.py": (f"{DATA}/test_example_inputs.py",),
    "shared/data/wordpiece.py": (f"{DATA}/test_data_vocabulary.py", f"{DATA}/test_data_stages.py"),
    "shared/data/clip_texts.py": (f"{DATA}/test_clip_inputs.py",),
    "shared/data/images.py": (f"{DATA}/test_clip_inputs.py",),
    "experiments/bench/timing.py": (f"{COMMANDS}/test_bench.py",),
    "experiments/reports/summary.py": ("tests/reports/test_report.py",),
    "experiments/training/ensemble.py": (f"{COMMANDS}/test_eval_together.py",),
    "experiments/studies/scaling_law.py": ("tests/studies/test_scaling_law.py",),
    "experiments/search/space.py": (f"{COMMANDS}/test_search.py",),
    "experiments/search/trials.py": (f"{COMMANDS}/test_search.py",),
    "shared/configs/optimizer.py": (f"{DATA}/test_default_settings.py", f"{BACKENDS}/test_optimizers.py"),
    "shared/data/batches.py": (f"{DATA}/test_data_batches.py",),
    "shared/data/bpe.py": (f"{DATA}/test_bpe.py",),
    "shared/data/prefetch.py": (f"{DATA}/test_data_prefetch.py",),
    "shared/data/pairs/pig_latin.py": (f"{DATA}/test_word_pairs.py",),
    "shared/data/pairs/word_lists.py": (f"{DATA}/test_word_pairs.py",),
    "shared/data/pairs/batches.py": (f"{DATA}/test_word_pairs.py",),
    "shared/data/pairs/letters.py": (f"{DATA}/test_word_pairs.py",),
    "shared/data/pairs/edit_distance.py": (f"{DATA}/test_word_pairs.py",),
    "shared/data/pairs/sentences.py": (f"{DATA}/test_word_pairs.py",),
    "shared/tasks/translation.py": (f"{DATA}/test_word_pairs.py", f"{DATA}/test_translation_task.py"),
    "shared/data/metrics.py": (f"{DATA}/test_data_metrics.py",),
    "shared/data/splits.py": (f"{DATA}/test_data_sources.py",),
    "shared/data/built_in.py": (f"{DATA}/test_data_sources.py",),
    "shared/data/examples.py": (f"{DATA}/test_data_examples.py",),
    "shared/tasks/classification.py": (
        f"{DATA}/test_classification.py",
        f"{RUNS}/test_catalogue.py",
        f"{RUNS}/test_runner.py",
    ),
    "shared/tasks/task.py": (f"{RUNS}/test_best_validation.py",),
    "experiments/training/plan.py": (f"{RUNS}/test_plan.py",),
    "experiments/training/patience.py": (f"{RUNS}/test_best_validation.py", f"{RUNS}/test_early_stopping.py"),
    "experiments/training/evaluation.py": (f"{RUNS}/test_runner.py",),
    **OF_CROSSCHECK,
}


@dataclass(frozen=True)
class Mutant:
    """A name for people and for the list of survivors, an edit by each path, and the tests to run."""

    name: str
    edits: dict[str, Edit]
    tests: tuple[str, ...]

    @property
    def sources(self) -> dict[str, str]:
        return {path: edit.source for path, edit in self.edits.items()}


def mutants() -> Iterator[Mutant]:
    """Every mutant; equal edits of one function are numbered."""
    seen: dict[str, int] = {}
    for path, tests, alike in _all():
        for planted in alike:
            name = f"{path} {next(iter(planted.values()))}"
            seen[name] = seen.get(name, 0) + 1
            yield Mutant(name if seen[name] == 1 else f"{name} #{seen[name]}", planted, tests)


def _all() -> Iterator[tuple[str, tuple[str, ...], Iterator[dict[str, Edit]]]]:
    rows: dict[str, tuple[str, ...]] = {}
    for pattern, tests in TWIN_FILES.items():
        for path in sorted((ROOT / "torch_impl").glob(pattern)):
            rows.setdefault(path.relative_to(ROOT / "torch_impl").as_posix(), tests)
    for inner, tests in rows.items():
        if not inner.endswith("__init__.py"):
            yield inner, tests, _in_both(inner)
    for path, tests in SHARED_FILES.items():
        yield path, tests, ({path: edit} for edit in edits((ROOT / path).read_text()))


def _in_both(inner: str) -> Iterator[dict[str, Edit]]:
    files = [f"{side}_impl/{inner}" for side in ("torch", "jax")]
    has_gradients = inner.startswith(DIFFERENTIABLE) and inner not in BY_HAND
    for both in pairs(*((ROOT / file).read_text() for file in files), detach=has_gradients):
        yield dict(zip(files, both, strict=True))
