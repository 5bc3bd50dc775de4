/* Says what a picture shows: classify MODEL PICTURE [LABEL...]
 *
 *   cc classify.c $(pkg-config --cflags --libs ocelli) -o classify
 */
#include <ocelli.h>
#include <stdio.h>
#include <stdlib.h>

static void check(OcelliStatus status) {
    if (status != OCELLI_OK) {
        fprintf(stderr, "%s: %s\n", ocelli_status_name(status), ocelli_last_error());
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: classify MODEL PICTURE [LABEL...]\n");
        return 2;
    }
    check(ocelli_check_abi(OCELLI_ABI_VERSION));
    OcelliModel *model = NULL;
    OcelliRuntime *runtime = NULL;
    check(ocelli_model_open(argv[1], OCELLI_OPEN_VERIFY, &model));
    check(ocelli_runtime_new(0, NULL, &runtime));

    /* Labels of the command line, or those that the model has. */
    OcelliBank *bank = NULL;
    if (argc > 3) {
        OcelliTextEncoder *texts = NULL;
        check(ocelli_text_encoder_new(model, runtime, &texts));
        const char *const *labels = (const char *const *)argv + 3;
        check(ocelli_text_encoder_labels(texts, labels, (size_t)argc - 3, NULL, 0, &bank));
        check(ocelli_text_encoder_free(texts));
    }
    OcelliClassifier *classifier = NULL;
    check(ocelli_classifier_new(model, runtime, NULL, bank, &classifier));

    OcelliPicture *picture = NULL;
    OcelliImage image;
    check(ocelli_picture_open(argv[2], &picture));
    check(ocelli_picture_image(picture, &image));

    OcelliScore best[5];
    size_t count = 0;
    check(ocelli_classifier_classify(classifier, &image, best, 5, &count));
    for (size_t i = 0; i < count; i++) {
        char label[256];
        check(ocelli_classifier_label(classifier, best[i].label, label, sizeof label, NULL));
        printf("%8.4f %%  %7.4f  %s\n", 100.0 * best[i].score, best[i].similarity, label);
    }
    check(ocelli_picture_free(picture));
    check(ocelli_classifier_free(classifier));
    check(ocelli_bank_free(bank));
    check(ocelli_runtime_free(runtime));
    check(ocelli_model_free(model));
    return 0;
}
