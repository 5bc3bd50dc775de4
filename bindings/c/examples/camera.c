/* What a Raspberry Pi's camera sees, frame by frame: YUV 4:2:0 as rpicam-vid writes it, without conversion.
 *
 *   cc camera.c $(pkg-config --cflags --libs ocelli) -o camera
 *   rpicam-vid -t 0 --codec yuv420 --width 640 --height 480 -o - | ./camera model.ocelli things.bank 640 480
 *
 * A stage of rpicam-apps does the same with the bytes of its buffer and info.stride. */
#include <ocelli.h>
#include <stdio.h>
#include <stdlib.h>

static void check(OcelliStatus status) {
    if (status != OCELLI_OK) {
        fprintf(stderr, "%s\n", ocelli_last_error());
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: camera MODEL BANK WIDTH HEIGHT (a BANK of - is the model's own labels)\n");
        return 2;
    }
    uint32_t width = (uint32_t)strtoul(argv[3], NULL, 10), height = (uint32_t)strtoul(argv[4], NULL, 10);
    OcelliModel *model = NULL;
    OcelliRuntime *runtime = NULL;
    OcelliBank *bank = NULL;
    OcelliClassifier *classifier = NULL;
    check(ocelli_model_open(argv[1], OCELLI_OPEN_VERIFY, &model));
    check(ocelli_runtime_new(0, NULL, &runtime));
    if (argv[2][0] != '-') check(ocelli_bank_open(argv[2], &bank));
    check(ocelli_classifier_new(model, runtime, NULL, bank, &classifier));

    /* The planes follow one another; chroma has half the stride. */
    size_t size = (size_t)width * height + 2 * ((size_t)width / 2) * ((size_t)height / 2);
    uint8_t *frame = malloc(size);
    if (frame == NULL) return 1;
    OcelliImage image = {.format = OCELLI_I420, .color = OCELLI_BT601, .width = width, .height = height};
    image.planes[0] = (OcelliPlane){.data = frame, .len = size, .stride = width};

    /* From here on ocelli allocates nothing. */
    for (unsigned long i = 0; fread(frame, 1, size, stdin) == size; i++) {
        OcelliScore best;
        char label[128];
        check(ocelli_classifier_classify(classifier, &image, &best, 1, NULL));
        check(ocelli_classifier_label(classifier, best.label, label, sizeof label, NULL));
        printf("%lu\t%.1f %%\t%s\n", i, 100.0 * best.score, label);
        fflush(stdout);
    }
    free(frame);
    check(ocelli_classifier_free(classifier));
    check(ocelli_bank_free(bank));
    check(ocelli_runtime_free(runtime));
    check(ocelli_model_free(model));
    return 0;
}
