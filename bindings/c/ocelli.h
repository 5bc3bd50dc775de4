/*
 * The C interface of ocelli: images and texts to embeddings, images to labels. Made from bindings/c/src by
 * scripts/c-header.sh: do not edit. docs/c.md has a tour.
 *
 * Errors. Functions return OCELLI_OK, or why they failed; ocelli_last_error() says it in words. What fails writes no result.
 * No fault of the library ends the program by itself: the worst is OCELLI_INTERNAL.
 *
 * Handles. Every ..._new, ..._open and the like writes a handle, which its ..._free ends. Handles are never followed: one that
 * was freed, is of another kind or is none is OCELLI_BAD_HANDLE. What was made of a handle keeps what it needs, so they may be
 * freed in any order.
 *
 * Memory. Pictures and results are the caller's. Null and misaligned pointers are refused; that a buffer is as long as the
 * program says, and stays while the call runs, is up to the program. Embedding and classifying allocate nothing.
 *
 * Threads. Every function may be called from every thread. Calls that use one encoder or classifier take turns, and so do
 * encoders that share a runtime: for two cameras at once make two encoders and two runtimes of one model. The threads of a
 * runtime do not survive fork(): make runtimes after it.
 */

#ifndef OCELLI_H
#define OCELLI_H

#include <stddef.h>
#include <stdint.h>

/**
 * Red, green, blue.
 */
#define OCELLI_RGB 1

/**
 * Blue, green, red (OpenCV).
 */
#define OCELLI_BGR 2

/**
 * Red, green, blue, straight alpha.
 */
#define OCELLI_RGBA 3

/**
 * Blue, green, red, straight alpha.
 */
#define OCELLI_BGRA 4

/**
 * One byte of luminance.
 */
#define OCELLI_GRAY 5

/**
 * Luminance; interleaved Cb, Cr at half the resolution.
 */
#define OCELLI_NV12 6

/**
 * Luminance; interleaved Cr, Cb at half the resolution.
 */
#define OCELLI_NV21 7

/**
 * Luminance; Cb; Cr, the last two at half the resolution (YUV420).
 */
#define OCELLI_I420 8

/**
 * Y, Cb, Y, Cr for each two pixels (YUY2).
 */
#define OCELLI_YUYV 9

/**
 * Cb, Y, Cr, Y for each two pixels.
 */
#define OCELLI_UYVY 10

/**
 * BT.601, luminance 16..235 and chroma 16..240: most cameras.
 */
#define OCELLI_BT601 0

/**
 * BT.601, all 256 levels: JPEG, MJPEG webcams.
 */
#define OCELLI_BT601_FULL 1

/**
 * BT.709, limited range: high-definition video.
 */
#define OCELLI_BT709 2

/**
 * BT.709, all 256 levels.
 */
#define OCELLI_BT709_FULL 3

/**
 * Most images in one call.
 */
#define OCELLI_MAX_BATCH 64

/**
 * One vector per patch, along the rows of the grid: dense features.
 */
#define OCELLI_LAYER_PATCH 1

/**
 * The class token.
 */
#define OCELLI_LAYER_CLASS 2

/**
 * What the projection or the classifier reads.
 */
#define OCELLI_LAYER_POOLED 3

/**
 * The embedding.
 */
#define OCELLI_LAYER_PROJECTED 4

/**
 * Check the weights against their checksums, which reads the whole file.
 */
#define OCELLI_OPEN_VERIFY 1

/**
 * Copy the weights into memory instead of mapping the file: for files that others may overwrite or cut off.
 */
#define OCELLI_OPEN_COPY 2

/**
 * The version of this interface. It changes when a program compiled with an older header would no longer be right;
 * the shared library's name ends with it.
 */
#define OCELLI_ABI_VERSION 1

/**
 * How a call ended. Programs should expect numbers that they don't know: later versions may have more.
 */
typedef enum OcelliStatus {
    /**
     * Done.
     */
    OCELLI_OK = 0,
    /**
     * A pointer is null that must not be.
     */
    OCELLI_NULL_POINTER = 1,
    /**
     * A pointer is not aligned as its type demands.
     */
    OCELLI_MISALIGNED = 2,
    /**
     * A handle that was freed, is of another kind, or was never given out.
     */
    OCELLI_BAD_HANDLE = 3,
    /**
     * An argument has a value that is not possible, or does not fit the model.
     */
    OCELLI_BAD_ARGUMENT = 4,
    /**
     * A buffer is too short or has the wrong length.
     */
    OCELLI_BUFFER_SIZE = 5,
    /**
     * The system cannot read or write a file.
     */
    OCELLI_FILE = 6,
    /**
     * The model or label bank is damaged, or of no kind that this library knows.
     */
    OCELLI_BAD_MODEL = 7,
    /**
     * The picture is damaged, or of no kind that this library knows.
     */
    OCELLI_BAD_PICTURE = 8,
    /**
     * The model has not what was asked for.
     */
    OCELLI_MODEL_LACKS = 9,
    /**
     * It would take more memory or work than there is or than the limits allow.
     */
    OCELLI_TOO_LARGE = 10,
    /**
     * A fault of this library. The handles of the call may be freed, and nothing else.
     */
    OCELLI_INTERNAL = 11,
} OcelliStatus;

/**
 * Labels with their embeddings, for every model of one checkpoint.
 */
typedef struct OcelliBank OcelliBank;

/**
 * An image encoder and the labels that it scores against. Calls of several threads take turns.
 */
typedef struct OcelliClassifier OcelliClassifier;

/**
 * An image tower with its memory. Calls of several threads take turns.
 */
typedef struct OcelliImageEncoder OcelliImageEncoder;

/**
 * An open model. Everything made with it keeps it open, also after it is freed.
 */
typedef struct OcelliModel OcelliModel;

/**
 * A decoded picture, upright.
 */
typedef struct OcelliPicture OcelliPicture;

/**
 * Threads and kernels that encoders share. What one encoder computes, others of the same runtime wait for. Encoders keep
 * it, also after it is freed.
 */
typedef struct OcelliRuntime OcelliRuntime;

/**
 * A text tower with its memory and its tokenizer. Calls of several threads take turns.
 */
typedef struct OcelliTextEncoder OcelliTextEncoder;

/**
 * What an image encoder is made for. All zero: one image at a time, of the model's own size.
 */
typedef struct OcelliImageOptions {
    /**
     * Most images in one call, at most OCELLI_MAX_BATCH; 0 is 1.
     */
    uint32_t batch;
    /**
     * Height of the image that the model sees, in pixels; 0, with a width of 0, for its own.
     */
    uint32_t image_height;
    /**
     * Width of that image.
     */
    uint32_t image_width;
} OcelliImageOptions;

/**
 * A plane of bytes.
 */
typedef struct OcelliPlane {
    /**
     * The first byte.
     */
    const uint8_t *data;
    /**
     * Bytes that are there.
     */
    size_t len;
    /**
     * Bytes from the start of one row to that of the next.
     */
    size_t stride;
} OcelliPlane;

/**
 * A picture of 8-bit pixels that is borrowed for the length of a call. Nothing is copied.
 *
 * A planar format (NV12, NV21, I420) whose planes follow one another in one buffer needs only `planes[0]`, with the bytes
 * of all of them in its `len`, and the others' `data` null: chroma has the stride of luminance, or half of it in I420.
 */
typedef struct OcelliImage {
    /**
     * OCELLI_RGB, ...
     */
    uint32_t format;
    /**
     * OCELLI_BT601, ...: what luminance and chroma mean; 0 for other formats.
     */
    uint32_t color;
    /**
     * Width in pixels, 1 to 65535.
     */
    uint32_t width;
    /**
     * Height in pixels, 1 to 65535.
     */
    uint32_t height;
    /**
     * The planes; those that the format does not have are null.
     */
    struct OcelliPlane planes[3];
} OcelliImage;

/**
 * One label's result.
 */
typedef struct OcelliScore {
    /**
     * Index of the label.
     */
    size_t label;
    /**
     * Probability: over all labels (softmax) or of this one alone (sigmoid); the cosine where the model knows none.
     */
    float score;
    /**
     * Cosine of the angle between image and label; of a class of the model's own classifier, its logit.
     */
    float similarity;
} OcelliScore;

/**
 * What a model is.
 */
typedef struct OcelliModelInfo {
    /**
     * Bytes of its file.
     */
    uint64_t bytes;
    /**
     * Identifies these weights in this precision.
     */
    uint8_t model_id[16];
    /**
     * Identifies the checkpoint, whatever the precision: a label bank fits all models that have it.
     */
    uint8_t checkpoint_id[16];
    /**
     * Length of an embedding.
     */
    uint32_t embed_dim;
    /**
     * 1 if it has an image tower.
     */
    uint32_t has_image;
    /**
     * Height of the image that it sees, in pixels.
     */
    uint32_t image_height;
    /**
     * Width of that image.
     */
    uint32_t image_width;
    /**
     * Side of a patch, in pixels.
     */
    uint32_t patch;
    /**
     * 1 if it has a text tower.
     */
    uint32_t has_text;
    /**
     * Most tokens of a text.
     */
    uint32_t context;
    /**
     * Classes of its own classifier; 0 if it has none.
     */
    uint32_t classes;
    /**
     * Labels of the bank that is in it; 0 if there is none.
     */
    uint32_t labels;
    /**
     * What cosines are multiplied by to become logits.
     */
    float logit_scale;
    /**
     * What is added to logits.
     */
    float logit_bias;
} OcelliModelInfo;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Reads the label bank at `path`, which `ocelli labels` or ocelli_bank_save wrote.
 *
 * # Safety
 * `path` is null or a text that ends with a zero byte; `out` is null or can be written to.
 */
enum OcelliStatus ocelli_bank_open(const char *path, struct OcelliBank **out);

/**
 * Copies the label bank that is in `model`. OCELLI_MODEL_LACKS if there is none.
 *
 * # Safety
 * `out` is null or can be written to.
 */
enum OcelliStatus ocelli_bank_of_model(const struct OcelliModel *model, struct OcelliBank **out);

/**
 * Writes the bank to `path`: beside it first, then synced and renamed, so that there is never half a file.
 *
 * # Safety
 * `path` is null or a text that ends with a zero byte.
 */
enum OcelliStatus ocelli_bank_save(const struct OcelliBank *bank,
                                   const char *path);

/**
 * Frees the handle. Null is left alone.
 */
enum OcelliStatus ocelli_bank_free(struct OcelliBank *bank);

/**
 * Writes the number of labels to `out`.
 *
 * # Safety
 * `out` is null or can be written to.
 */
enum OcelliStatus ocelli_bank_len(const struct OcelliBank *bank, size_t *out);

/**
 * Copies label `index` (UTF-8) and a zero byte to `buffer` of `len` bytes, and the bytes that it takes to `needed`, which
 * may be null. With a `len` of 0 only `needed` is written.
 *
 * # Safety
 * `buffer` is null or has `len` bytes; `needed` is null or can be written to.
 */
enum OcelliStatus ocelli_bank_label(const struct OcelliBank *bank,
                                    size_t index,
                                    char *buffer,
                                    size_t len,
                                    size_t *needed);

/**
 * Takes all memory for the image tower, and copies `bank`. A `bank` of null takes the classes of the model's own classifier
 * or, if it has none, the labels in it. `options` may be null.
 *
 * # Safety
 * `options` is null or can be read; `out` is null or can be written to.
 */
enum OcelliStatus ocelli_classifier_new(const struct OcelliModel *model,
                                        const struct OcelliRuntime *runtime,
                                        const struct OcelliImageOptions *options,
                                        const struct OcelliBank *bank,
                                        struct OcelliClassifier **out);

/**
 * Frees the handle. Null is left alone.
 */
enum OcelliStatus ocelli_classifier_free(struct OcelliClassifier *classifier);

/**
 * Scores `image` against all labels and writes the best of them, best first, to `out` of `len` elements, and how many these
 * are (`len`, or all labels if they are fewer) to `count`, which may be null. Allocates nothing.
 *
 * # Safety
 * `image` is null or can be read; `out` is null or has `len` elements; `count` is null or can be written to.
 */
enum OcelliStatus ocelli_classifier_classify(const struct OcelliClassifier *classifier,
                                             const struct OcelliImage *image,
                                             struct OcelliScore *out,
                                             size_t len,
                                             size_t *count);

/**
 * Writes the number of labels to `out`.
 *
 * # Safety
 * `out` is null or can be written to.
 */
enum OcelliStatus ocelli_classifier_len(const struct OcelliClassifier *classifier, size_t *out);

/**
 * Copies label `index` as ocelli_bank_label does.
 *
 * # Safety
 * `buffer` is null or has `len` bytes; `needed` is null or can be written to.
 */
enum OcelliStatus ocelli_classifier_label(const struct OcelliClassifier *classifier,
                                          size_t index,
                                          char *buffer,
                                          size_t len,
                                          size_t *needed);

/**
 * Takes all memory for the image tower. `options` may be null.
 *
 * # Safety
 * `options` is null or can be read; `out` is null or can be written to.
 */
enum OcelliStatus ocelli_image_encoder_new(const struct OcelliModel *model,
                                           const struct OcelliRuntime *runtime,
                                           const struct OcelliImageOptions *options,
                                           struct OcelliImageEncoder **out);

/**
 * Frees the handle. Null is left alone.
 */
enum OcelliStatus ocelli_image_encoder_free(struct OcelliImageEncoder *encoder);

/**
 * Embeds `count` images, at most the encoder's batch, and writes their embeddings, each of length 1, to `out`, which has
 * `len` = count * embed_dim elements. Allocates nothing.
 *
 * # Safety
 * `images` is null or has `count` elements; `out` is null or has `len`.
 */
enum OcelliStatus ocelli_image_encoder_embed(const struct OcelliImageEncoder *encoder,
                                             const struct OcelliImage *images,
                                             size_t count,
                                             float *out,
                                             size_t len);

/**
 * Encodes one image and writes the vectors of `layer` (OCELLI_LAYER_PATCH, ...) to `out`, which has as many elements as
 * ocelli_image_encoder_shape says: vectors * channels. With `unit` other than 0 each vector is brought to length 1.
 * Allocates nothing.
 *
 * # Safety
 * `image` is null or can be read; `out` is null or has `len` elements.
 */
enum OcelliStatus ocelli_image_encoder_encode(const struct OcelliImageEncoder *encoder,
                                              const struct OcelliImage *image,
                                              uint32_t layer,
                                              int32_t unit,
                                              float *out,
                                              size_t len);

/**
 * Writes how many vectors `layer` has, and how many channels each of them, for one image. Where every image has patches of
 * its own number (NaFlex), this is the shape for the last one. Either place may be null.
 *
 * # Safety
 * `vectors` and `channels` are null or can be written to.
 */
enum OcelliStatus ocelli_image_encoder_shape(const struct OcelliImageEncoder *encoder,
                                             uint32_t layer,
                                             size_t *vectors,
                                             size_t *channels);

/**
 * Writes the rows and columns of patches, in whose order OCELLI_LAYER_PATCH lists them. Either place may be null.
 *
 * # Safety
 * `rows` and `columns` are null or can be written to.
 */
enum OcelliStatus ocelli_image_encoder_grid(const struct OcelliImageEncoder *encoder,
                                            size_t *rows,
                                            size_t *columns);

/**
 * Opens the packed file (.ocelli) at `path` and writes its handle to `out`. `flags`: 0, or OCELLI_OPEN_ constants
 * joined by |.
 *
 * # Safety
 * `path` is null or a text that ends with a zero byte; `out` is null or can be written to.
 */
enum OcelliStatus ocelli_model_open(const char *path,
                                    uint32_t flags,
                                    struct OcelliModel **out);

/**
 * Opens the packed file that lies in memory, `len` bytes at `data`, which are copied. `flags` as in ocelli_model_open.
 *
 * # Safety
 * `data` is null or has `len` bytes; `out` is null or can be written to.
 */
enum OcelliStatus ocelli_model_from_bytes(const uint8_t *data,
                                          size_t len,
                                          uint32_t flags,
                                          struct OcelliModel **out);

/**
 * Frees the handle. Null is left alone.
 */
enum OcelliStatus ocelli_model_free(struct OcelliModel *model);

/**
 * Writes what the model is to `out`.
 *
 * # Safety
 * `out` is null or can be written to.
 */
enum OcelliStatus ocelli_model_info(const struct OcelliModel *model, struct OcelliModelInfo *out);

/**
 * Copies where the model came from and what was measured when it was converted, as JSON, to `buffer` of `len` bytes, and
 * the bytes that it takes to `needed`, which may be null. With a `len` of 0 only `needed` is written.
 *
 * # Safety
 * `buffer` is null or has `len` bytes; `needed` is null or can be written to.
 */
enum OcelliStatus ocelli_model_provenance(const struct OcelliModel *model,
                                          char *buffer,
                                          size_t len,
                                          size_t *needed);

/**
 * Reads and decodes the picture file at `path`: JPEG, PNG, WebP, GIF, TIFF or BMP. Allocates; it is for files, not for a
 * camera's frames.
 *
 * # Safety
 * `path` is null or a text that ends with a zero byte; `out` is null or can be written to.
 */
enum OcelliStatus ocelli_picture_open(const char *path,
                                      struct OcelliPicture **out);

/**
 * Decodes the picture file that lies in memory, `len` bytes at `data`.
 *
 * # Safety
 * `data` is null or has `len` bytes; `out` is null or can be written to.
 */
enum OcelliStatus ocelli_picture_decode(const uint8_t *data,
                                        size_t len,
                                        struct OcelliPicture **out);

/**
 * Frees the handle. Null is left alone. Images that were made of it must not be used any more.
 */
enum OcelliStatus ocelli_picture_free(struct OcelliPicture *picture);

/**
 * Writes an image to `out` that borrows the picture's pixels until the picture is freed.
 *
 * # Safety
 * `out` is null or can be written to.
 */
enum OcelliStatus ocelli_picture_image(const struct OcelliPicture *picture,
                                       struct OcelliImage *out);

/**
 * Starts `threads` threads, the calling one included, and chooses the kernels; 0 takes what OCELLI_THREADS says or as many
 * as there are CPUs. `isa` names the instruction sets to use, as in
 * "neon+dotprod"; null takes what OCELLI_ISA says or all that this CPU has.
 *
 * # Safety
 * `isa` is null or a text that ends with a zero byte; `out` is null or can be written to.
 */
enum OcelliStatus ocelli_runtime_new(uint32_t threads,
                                     const char *isa,
                                     struct OcelliRuntime **out);

/**
 * Frees the handle. Null is left alone.
 */
enum OcelliStatus ocelli_runtime_free(struct OcelliRuntime *runtime);

/**
 * Writes the number of threads, the calling one included, to `out`.
 *
 * # Safety
 * `out` is null or can be written to.
 */
enum OcelliStatus ocelli_runtime_threads(const struct OcelliRuntime *runtime, uint32_t *out);

/**
 * What went wrong in the last call on this thread that failed, in English; empty if none did. It stays until the next
 * call on this thread fails or the thread ends.
 */
const char *ocelli_last_error(void);

/**
 * A status in words, as in "bad handle". It is there for ever; numbers that are no status are "unknown".
 */
const char *ocelli_status_name(int32_t status);

/**
 * Takes all memory for the text tower, and reads the tokenizer.
 *
 * # Safety
 * `out` is null or can be written to.
 */
enum OcelliStatus ocelli_text_encoder_new(const struct OcelliModel *model,
                                          const struct OcelliRuntime *runtime,
                                          struct OcelliTextEncoder **out);

/**
 * Frees the handle. Null is left alone.
 */
enum OcelliStatus ocelli_text_encoder_free(struct OcelliTextEncoder *encoder);

/**
 * Embeds `text` (UTF-8) and writes its embedding, of length 1, to `out`, which has `len` = embed_dim elements. `cut`, which
 * may be null, becomes 1 if the text was longer than the model reads, and 0 otherwise. Tokenizing allocates.
 *
 * # Safety
 * `text` is null or ends with a zero byte; `out` is null or has `len` elements; `cut` is null or can be written to.
 */
enum OcelliStatus ocelli_text_encoder_embed(const struct OcelliTextEncoder *encoder,
                                            const char *text,
                                            float *out,
                                            size_t len,
                                            int32_t *cut);

/**
 * Embeds `label_count` labels, each with `template_count` templates that have {} for the label, as in "a photo of a {}" (which
 * is the one that is taken if there is none), and writes the handle of their bank to `out`. Labels and templates are UTF-8.
 *
 * # Safety
 * `labels` and `templates` are null or have so many texts; `out` is null or can be written to.
 */
enum OcelliStatus ocelli_text_encoder_labels(const struct OcelliTextEncoder *encoder,
                                             const char *const *labels,
                                             size_t label_count,
                                             const char *const *templates,
                                             size_t template_count,
                                             struct OcelliBank **out);

/**
 * The version of the interface that the library has.
 */
uint32_t ocelli_abi_version(void);

/**
 * Compares the interface of the header that the program was compiled with and of the library that it runs with: call
 * `ocelli_check_abi(OCELLI_ABI_VERSION)` once. OCELLI_BAD_ARGUMENT if they differ.
 */
enum OcelliStatus ocelli_check_abi(uint32_t version);

/**
 * The version of the library, as in "0.2.0". It is there for ever.
 */
const char *ocelli_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* OCELLI_H */
